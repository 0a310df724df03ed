"""Who does what in a run: the clients and operators of each app, and whoever harms the workers."""

import asyncio
import os
import signal
import time

from .ledger import Seal, Violation


class Operator:
    """Pauses and resumes an app again and again, in every way there is."""

    def __init__(self, world, app):
        self.world = world
        self.app = app
        self.random = world.random

    async def run(self, until):
        while time.monotonic() < until:
            await self.open_for_a_while()
            if await self.pause():
                await self.while_paused()
            await self.resume()

    async def open_for_a_while(self):
        for _ in range(self.random.randint(1, 4)):
            await self.burst(self.random.randint(1, 30))
            await asyncio.sleep(self.random.random() * 0.1)

    async def burst(self, count, large=False):
        for _ in range(count):
            await self.world.send(self.app, large=large and self.random.random() < 0.2)

    # Pausing

    async def pause(self):
        """Whether the app is paused then for as long as nobody resumes it."""
        way = self.random.choice(("plain", "plain", "plain", "drain", "for", "again"))
        if way == "drain":
            return await self.drain()
        if way == "for":
            return await self.pause_for()
        await self.must("enable")
        self.app.seal()
        if way == "again":
            await self.must("enable")
        return True

    async def drain(self):
        status, _ = await self.world.call("enable", self.app, drain="4s")
        if status == 200:
            self.app.seal(quiet=True)
            self.look_at_origin()
        elif status != 504:
            raise Violation(f"enable with drain answered {status}")
        elif not self.world.faults.any(time.monotonic() - 6, time.monotonic()):
            raise Violation("the drain did not end though nobody harmed a worker")
        return status == 200

    def look_at_origin(self):
        now = time.monotonic()
        for connection in self.world.origin.at_work.get(self.app, ()):
            request = connection.request
            if request.bypass or request.aborted or self.world.faults.any(request.sent - 1, now):
                continue
            raise Violation("it is at the origin after a drain said that all is quiet", request)

    async def pause_for(self):
        seconds = self.random.choice((0.3, 0.7, 1.5))
        asked = time.monotonic()
        await self.must("enable", **{"for": f"{int(seconds * 1000)}ms"})
        self.app.seals.append(Seal(time.monotonic(), asked + seconds - 0.02))
        await self.burst(self.random.randint(0, 40))
        await asyncio.sleep(self.random.random() * seconds)
        return False

    async def while_paused(self):
        await self.burst(self.random.randint(0, 60), large=True)
        if self.random.random() < 0.3:
            await self.health_check()
        for request in self.random.sample(sorted(self.app.outstanding, key=lambda request: request.id), len(self.app.outstanding) // 8):
            self.world.abort(request)
        await asyncio.sleep(self.random.random() * 1.5)

    async def health_check(self):
        request = await self.world.send(self.app, health=True)
        done, _ = await asyncio.wait([request.ends], timeout=5)
        if not done and not self.world.faults.any(request.sent, time.monotonic()):
            raise Violation("a health check was not let through", request)

    # Resuming

    async def resume(self):
        way = self.random.choice(("plain", "plain", "rate", "concurrency", "both", "canary", "maintenance", "change of mind"))
        if way == "canary":
            await self.try_canary()
        elif way == "maintenance":
            await self.maintain()
        elif way == "change of mind":
            await self.release(rate="50r/s")
            await asyncio.sleep(self.random.random() * 0.3)
            if await self.pause():
                await self.while_paused()
        pace = {}
        if way in ("rate", "both"):
            pace["rate"] = self.random.choice(("100r/s", "400r/s", "2000r/s"))
            pace["burst"] = self.random.choice((2, 20))
        if way in ("concurrency", "both"):
            pace["concurrency"] = self.random.choice((1, 5, 50))
        await self.release(**pace)
        await self.stragglers()
        await self.wait_open()

    async def release(self, **how):
        # What the origin has seen by now was there before.
        await asyncio.sleep(0)
        self.app.unseal()
        status, _ = await self.world.call("disable", self.app, **how)
        if status != 200:
            raise Violation(f"disable answered {status}")
        for stretch in self.app.refusals:
            stretch.end = min(stretch.end, time.monotonic())

    async def try_canary(self):
        fails = self.random.random() < 0.5
        if fails:
            self.world.origin.failing.add(self.app)
        await asyncio.sleep(0)
        self.app.unseal()
        # One that is short of requests waits for the release's time-out, and each time that the worker of the
        # call is killed, it is repeated, and begins anew.
        status, _ = await self.world.call("disable", self.app, limit=120, canary=self.random.randint(1, 5))
        self.world.origin.failing.discard(self.app)
        if status not in (200, 409):
            raise Violation(f"disable with a canary answered {status}")
        if status == 409 and not fails and not self.world.faults.any(time.monotonic() - 6, time.monotonic()):
            raise Violation("the canary is said to have failed, and has not")

    async def maintain(self):
        stretch = Seal(time.monotonic())
        self.app.refusals.append(stretch)
        await self.must("maintenance")
        self.app.seal()
        await self.burst(self.random.randint(0, 20))
        await asyncio.sleep(self.random.random() * 0.2)

    async def stragglers(self):
        await self.burst(self.random.randint(0, 20))

    async def wait_open(self):
        async def is_open():
            return (await self.world.status(self.app))["state"] == "open"
        await self.world.wait_for(is_open, f"{self.app.name} to be open", 25)
        before = set(self.app.outstanding)

        async def is_over():
            return not before & self.app.outstanding
        await self.world.wait_for(is_over, f"all of {self.app.name} to be answered", 20)

    async def must(self, call, **arguments):
        status, answer = await self.world.call(call, self.app, **arguments)
        if status != 200:
            raise Violation(f"{call} answered {status}: {answer}")


class OrderlyOperator(Operator):
    """Sends its requests in waves, each of them when the one before is known to be held."""

    async def while_paused(self):
        for _ in range(self.random.randint(1, 8)):
            await self.burst(self.random.choice((1, 1, 1, 2, 5, 20, 60)))
            if not await self.prove_held():
                continue
            if self.random.random() < 0.3:
                await self.some_leave()
        if self.random.random() < 0.2:
            await self.health_check()

    async def prove_held(self):
        """Waits until all that are outstanding are at the gate: whoever is sent then is behind them."""
        app = self.app
        end = time.monotonic() + 5
        while time.monotonic() < end:
            asked, changed, sent = time.monotonic(), app.changed, self.world.ledger.last
            status = await self.world.status(app)
            all_held = status["held"] == len(app.outstanding) and status["in_flight"] == 0
            still = app.changed == changed and sent <= self.world.ledger.last
            if all_held and still and not self.world.faults.any(asked, time.monotonic()):
                for request in app.outstanding:
                    request.held = True
                app.rank += 1
                self.world.ledger.counts["waves known to be held"] += 1
                return True
            await asyncio.sleep(0.01)
        if not self.world.faults.any(end - 6, time.monotonic()):
            raise Violation(f"{app.name}: {status['held']} are said to be held, and {len(app.outstanding)} are not answered")
        return False

    async def some_leave(self):
        held = sorted((request for request in self.app.outstanding if request.held), key=lambda request: request.id)
        for request in self.random.sample(held, self.random.randint(0, len(held)) // 3):
            self.world.abort(request, held=True)
        # So that nobody is taken for held later who is still on its way.
        await self.prove_held()


class Nobody(OrderlyOperator):
    """Calls for nothing, or too late: the origin of its app goes away, and comes back."""

    async def run(self, until):
        while time.monotonic() < until:
            await self.open_for_a_while()
            await self.outage()

    async def outage(self):
        self.lose_origin()
        try:
            await self.burst(self.random.randint(1, 30))
            await self.while_paused()
            is_paused = self.random.random() < 0.3
            if is_paused:
                await self.must("enable")
                self.app.seal()
                await self.while_paused()
        finally:
            self.world.journal.note("the origin comes back")
            self.world.restless.listen()
        if is_paused:
            await self.stragglers()
            await self.release()
        await self.wait_open()

    def lose_origin(self):
        if self.random.random() < 0.25:
            self.world.journal.note("the origin crashes")
            self.app.crashes.append(time.monotonic())
            self.world.restless.crash()
        else:
            self.world.journal.note("the origin goes away")
            self.world.restless.go_away(leaves_its_name=self.random.random() < 0.5)
        self.world.ledger.counts["times an origin went away"] += 1


class Crowd:
    """A client that asks for one thing after the other."""

    def __init__(self, world, app):
        self.world = world
        self.app = app

    async def run(self, until):
        chance = self.world.random
        while time.monotonic() < until:
            request = await self.world.send(self.app, large=chance.random() < 0.02)
            patience = chance.random() * 0.5 if chance.random() < 0.05 else None
            done, _ = await asyncio.wait([request.ends], timeout=patience)
            if not done:
                self.world.abort(request)
            await asyncio.sleep(chance.random() * 0.02)


class Vandal:
    """Reloads, kills and stops, in chapters, some of which are calm."""

    def __init__(self, world):
        self.world = world
        self.random = world.random
        self.kinds = ()

    async def run(self, until):
        while time.monotonic() < until:
            kinds = self.random.choice(((), ("reload",), ("kill",), ("stop",), ("reload", "kill", "stop")))
            self.world.journal.note(f"a chapter with {' and '.join(kinds) or 'nothing'}")
            end = min(until, time.monotonic() + self.random.randint(4, 15))
            while time.monotonic() < end:
                await asyncio.sleep(0.2 + self.random.random() * 2)
                if kinds:
                    await getattr(self, self.random.choice(kinds))()

    async def reload(self):
        nginx = self.world.nginx
        if len(nginx.workers()) > 12:
            return
        workers = self.random.choice((4, 4, 3, 2))
        nginx.configure(workers)
        self.note("reloads", time.monotonic(), f"reload with {workers} workers")
        nginx.reload()

    async def kill(self):
        workers = self.world.nginx.workers()
        if workers:
            pid = self.random.choice(workers)
            stretch = [time.monotonic(), float("inf")]
            self.note("kills", stretch, f"kill {pid}")
            self.world.nginx.kill(pid)
            # On a busy machine it is not over at once, and nor are its connections.
            while os.path.exists(f"/proc/{pid}"):
                await asyncio.sleep(0.01)
            stretch[1] = time.monotonic()

    async def stop(self):
        workers = self.world.nginx.workers()
        if not workers:
            return
        pid = self.random.choice(workers)
        stretch = [time.monotonic(), float("inf")]
        self.note("stops", stretch, f"stop {pid}")
        try:
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(self.random.choice((0.1, 0.5, 1.5, 2.5)))
        finally:
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass
            stretch[1] = time.monotonic()
            self.world.journal.note(f"continue {pid}")

    def note(self, kind, what, line):
        getattr(self.world.faults, kind).append(what)
        self.world.journal.note(line)
