"""Operators who make calls at random, in good and in bad manners."""

import asyncio
import json

from soak.clients import fetch
from soak.ledger import Violation

from .asking import Asker
from .wire import Gone, Wire

CALLS = ("status", "metrics", "enable", "enable_for", "drain", "disable", "pace", "canary", "disable_all", "maintenance", "dashboard",
         "bad", "half", "crowd")
APPS = ("web", "web", "api", "api", "shop", "shop", "brief", "strict", "strict", "capped", "pages", "app0", "app1")
BAD = ("enable?for=0", "enable?app=", "disable?rate=1000000000r/s", "status?app=a&app=b", "nothing", "enable?drain=10s&drain=1s",
       "maintenance?retry_after=x", "disable?canary=0", "enable/../status", "status?format=xml", "enable?app=" + "x" * 300, "%00", "enable?%", "")


class Caller(Asker):
    async def run(self):
        while True:
            # Whatever else a round has, apps are paused and resumed.
            await getattr(self, self.chance.choice([*self.world.plan.calls, "enable", "disable"]))()
            await asyncio.sleep(self.chance.random() * 0.3)

    def app(self):
        return self.chance.choice(APPS) if self.chance.random() < 0.9 else self.name()

    async def call(self, name, *arguments, app=None, limit=None):
        target = f"/control/{name}?" + "&".join((f"app={app or self.app()}", *arguments))
        return await self.fetch(name, target, limit)

    async def fetch(self, name, target, limit=None):
        method = self.chance.choice(("GET", "GET", "GET", "GET", "POST", "POST", "PUT", "HEAD"))
        answer = await fetch(self.world.nginx.ports["plain"], target, limit or self.patience(), method)
        said = answer[0] if answer else "no answer"
        self.world.ledger.counts[f"calls: {name or 'dashboard'} {said}"] += 1
        if name not in ("status", "metrics"):
            self.world.journal.note(f"{method} {target}: {said}")
        if said == 500:
            raise Violation(f"{method} {target} was answered 500: {answer[1][:500]!r}")
        return answer

    async def status(self):
        await self.call("status", "format=json", app=self.chance.choice((None, "*")))

    async def metrics(self):
        await self.fetch("metrics", "/control/metrics" + self.chance.choice(("", "?app=web")))

    async def dashboard(self):
        await self.fetch("", "/control/")

    async def enable(self):
        await self.call("enable")

    async def enable_for(self):
        await self.call("enable", f"for={self.chance.choice((1, 50, 300, 1000))}ms")

    async def drain(self):
        keep = self.chance.choice(((), ("keep=1",), ("for=300ms",)))
        await self.call("enable", f"drain={self.chance.choice((1, 100, 1000))}ms", *keep)

    async def disable(self):
        await self.call("disable")

    async def disable_all(self):
        await self.call("disable", app="*")

    async def pace(self):
        pace = [self.chance.choice(("rate=10r/s", "rate=200r/s", "rate=200r/s&burst=20", "concurrency=1", "concurrency=10"))]
        if self.chance.random() < 0.2:
            pace.append("concurrency=3" if "rate" in pace[0] else "rate=1000r/s")
        await self.call("disable", *pace)

    async def canary(self):
        await self.call("disable", f"canary={self.chance.choice((1, 2, 5))}")

    async def maintenance(self):
        app = self.app()
        await self.call("maintenance", *self.chance.choice(((), ("retry_after=2s",))), app=app)
        # Not for too long: nothing is held meanwhile.
        await asyncio.sleep(self.chance.random() * 0.2)
        await self.call(self.chance.choice(("enable", "disable")), app=app)

    async def bad(self):
        await self.fetch("that is none", "/control/" + self.chance.choice(BAD))

    async def half(self):
        """A call that is sent in part, or whose caller does not wait."""
        target = self.chance.choice(("enable?drain=2s&", "disable?canary=3&", "enable?", "disable?", "status?")) + f"app={self.app()}"
        head = f"POST /control/{target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345".encode()
        cut = self.chance.choice((len(head), self.chance.randrange(1, len(head))))
        self.world.ledger.counts["calls: sent in part or left"] += 1
        self.world.journal.note(f"{cut} of {len(head)} bytes of {target}")
        try:
            wire = await Wire.open(self.world.nginx.ports["plain"])
            await wire.send(head[:cut])
            await asyncio.sleep(self.pause())
            wire.finish() if self.chance.random() < 0.3 else wire.reset()
            await asyncio.sleep(self.pause())
            wire.close()
        except (Gone, OSError):
            pass

    async def crowd(self):
        """Several at once for one app."""
        app = self.app()
        calls = ("enable", "disable", "maintenance", "status")
        await asyncio.gather(*(self.call(self.chance.choice(calls), app=app) for _ in range(self.chance.randint(2, 6))))


async def resume_all(world):
    """Every app is open again, whatever the last calls wanted."""
    port = world.nginx.ports["plain"]
    answer = await fetch(port, "/control/disable?app=*&format=json", 5)
    world.journal.note(f"disable?app=*: {answer and answer[0]} {answer and json.loads(answer[1]).get('message')}")
