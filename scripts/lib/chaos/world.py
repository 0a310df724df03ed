"""Everything that a run consists of, and its rounds."""

import asyncio
import random
import time

from soak.ledger import Faults, Journal, Violation

from . import checks
from .calls import Caller, resume_all
from .http1 import Visitor
from .http2 import Streamer
from .ledger import Ledger
from .nginx import Attacked
from .origin import Origin
from .plan import draw
from .vandal import Vandal
from .wire import Gone, drop

VISITORS, STREAMERS, CALLERS = 48, 8, 4
# How long it may take until all is quiet, on a machine that has much else to do.
LONGEST_END = 60


class World:
    def __init__(self, asked, folder):
        self.seed = asked.seed
        self.only = asked.places
        self.folder = folder
        self.failed = asyncio.get_running_loop().create_future()
        self.journal = Journal(f"{folder}/journal.log")
        self.ledger = Ledger()
        self.faults = Faults()
        self.accounts = checks.Accounts()
        self.plan = draw(self.seed, asked.round, self.only)
        self.origin = Origin(self)
        self.nginx = None

    async def start(self, asked):
        await self.origin.start()
        self.has_gate = bool(asked.module)
        self.nginx = Attacked(self.folder, asked.nginx, asked.module, self.origin, self.plan.settings, "debug" if asked.debug else "notice")
        self.reports = checks.Reports(self.nginx)
        self.nginx.start()

    def dice(self, name):
        """Everybody has their own, so that the choices of one do not depend on when another one chooses."""
        return random.Random(f"{self.seed} {self.plan.number} {name}")

    def fail(self, problem):
        if not self.failed.done():
            self.failed.set_exception(problem)

    def on_stray(self, _, context):
        """A task has ended with an exception after nobody waited for it any more."""
        problem = context.get("exception")
        if problem is not None and not isinstance(problem, (Gone, OSError, asyncio.TimeoutError)):
            self.fail(problem)

    # Rounds

    async def round(self, number, seconds):
        """Attacks for so long, and then sees whether all is as it was."""
        self.plan = draw(self.seed, number, self.only)
        self.origin.chance = self.dice("origin")
        self.journal.note(f"round {number}\n{self.plan}")
        self.nginx.configure(self.plan.settings)
        self.nginx.reload()
        before, hurt = self.ledger.last, self.hurt()
        await self.together([actor.run() for actor in self.cast()], seconds)
        self.journal.note("all clients leave")
        ended = time.monotonic()
        if self.has_gate:
            await self.together([self.settle(hurt != self.hurt())], LONGEST_END, until_done=True)
        print(f"round {number}: {self.ledger.last - before} requests, quiet {time.monotonic() - ended:.1f} s after the last", flush=True)

    def cast(self):
        yield Vandal(self)
        yield self.origin
        yield from (Visitor(self, f"visitor {number}") for number in range(VISITORS))
        yield from (Streamer(self, f"streamer {number}") for number in range(STREAMERS))
        if self.has_gate:
            yield from (Caller(self, f"caller {number}") for number in range(CALLERS))

    def hurt(self):
        """How many workers have died."""
        return len(self.nginx.killed) + len(self.nginx.crashed)

    async def together(self, actors, seconds, until_done=False):
        """Lets all act for so long, or until one of them finds something."""
        tasks = [asyncio.ensure_future(actor) for actor in actors]
        watch = asyncio.ensure_future(self.watch())
        left = [*tasks, watch, self.failed]
        when = asyncio.FIRST_COMPLETED if until_done else asyncio.FIRST_EXCEPTION
        try:
            done, _ = await asyncio.wait(left, timeout=seconds, return_when=when)
            for task in done:
                task.result()
            if until_done and not done:
                raise Violation(f"after {seconds} s it is still not quiet: {self.left_over}")
        finally:
            for task in [*tasks, watch]:
                task.cancel()
            for task in [*tasks, watch]:
                await drop(task)

    async def watch(self):
        """What must be so at any time."""
        while True:
            self.reports.check()
            self.check_log()
            apps = await checks.status(self.nginx.ports["plain"]) if self.has_gate else None
            if apps is not None:
                self.ledger.counts["calls: looks at the counters"] += 1
                checks.check_sane(apps)
            await asyncio.sleep(0.2)

    def check_log(self):
        accidents = self.nginx.accidents()
        if accidents:
            # Of what has crashed, the sanitizer says more.
            self.reports.check()
            accidents = self.nginx.accidents()
        if accidents:
            raise Violation("in nginx's log:\n" + "\n".join(accidents[:10]))

    async def settle(self, killed):
        """All apps are open, nobody is there any more, and the sums agree."""
        port = self.nginx.ports["plain"]
        while True:
            apps, samples = await checks.status(port, 5), await checks.metrics(port, 5)
            self.left_over = "nothing is answered"
            if apps is not None and samples is not None:
                self.left_over = "\n".join(checks.unquiet(apps, samples))
            if not self.left_over:
                break
            # Whatever the last calls wanted, of those that are still on their way as well.
            if apps is None or any(app["state"] != "open" for app in apps):
                await resume_all(self)
            await asyncio.sleep(0.1)
        self.accounts.check(apps, samples, killed)
        self.check_log()

    def finish(self):
        if not self.nginx.quit():
            raise Violation("nginx did not end gracefully")
        self.check_log()
