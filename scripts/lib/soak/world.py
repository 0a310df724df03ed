"""Everything that a run consists of: nginx, the origin, the ledger, and ways to send requests."""

import asyncio
import json
import random
import time

from .clients import Http1, Http2, fetch
from .ledger import App, Faults, Journal, Ledger, Violation
from .nginx import Nginx
from .origin import Origin

SMALL = 4_000
LARGE = 300_000
LONGEST_LIFE = 60


class World:
    def __init__(self, loop, seed, folder, binary, module, workers=4, prefix=(), log="notice"):
        self.loop = loop
        self.random = random.Random(seed)
        self.folder = folder
        self.failed = loop.create_future()
        # What happens after the end of a run says nothing.
        self.is_over = False
        self.faults = Faults()
        self.journal = Journal(f"{folder}/journal.log")
        self.ledger = Ledger(loop, self.journal, self.faults)
        self.origin = Origin(loop, self.ledger, self.guard, f"{folder}/origin")
        # That of one app, which comes and goes.
        self.restless = Origin(loop, self.ledger, self.guard, f"{folder}/restless")
        self.nginx = Nginx(folder, binary, module, workers, prefix, log)
        self.idle = {"plain": [], "shared": []}
        self.streams = []
        self.unhurried = 1
        self.apps = [
            App("order1", ordered=True),
            App("order2", ordered=True),
            App("busy1"),
            App("busy2"),
            App("brief", max_time=1.5),
            App("strict", max_time=1.5, refuses_late=True),
            App("restless", ordered=True),
        ]
        for app in self.apps:
            app.works_for = self.working_time

    def working_time(self):
        """How long the origin takes for an answer."""
        return self.random.choice((0, 0, 0, 0, 0.005, 0.05))

    def guard(self, action):
        """An event's handler whose exceptions end the run."""
        def guarded(*arguments):
            if self.is_over:
                return None
            try:
                return action(*arguments)
            except Exception as problem:
                self.fail(problem)
        return guarded

    def fail(self, problem):
        self.is_over = True
        if not self.failed.done():
            self.failed.set_exception(problem)

    # Requests

    async def send(self, app, large=False, health=False):
        """Sends a request in some way; its end can be awaited."""
        kind = self.random.choice(("http1", "http1", "http1 kept", "http1 kept", "http2"))
        length = 0
        if not health and self.random.random() < 0.3:
            length = self.random.randint(1, SMALL)
        if large:
            length = self.random.randint(SMALL, LARGE if kind != "http2" else Http2.LARGEST_BODY)
        channel = await self.channel(kind)
        chunked = length and kind != "http2" and self.random.random() < 0.3
        method = ("POST chunked" if chunked else "POST") if length else "GET"
        request = self.ledger.begin(app, f"{method} {length}, {kind}")
        request.bypass = health
        request.reused = channel.used > 0
        request.channel = channel
        request.body = b"x" * length
        path = (f"/up?app={app.name}&id={request.id}" if health else f"/{app.name}/x?id={request.id}").encode()
        if not channel.is_open:
            self.ledger.forget(request)
        elif kind == "http2":
            request.channel = (channel, channel.start(request, method.encode(), path, request.body))
        else:
            channel.start(request, *message(method, path, request.body, channel.kept))
        return request

    async def channel(self, kind):
        if kind == "http2":
            return await self.stream_channel()
        name = self.random.choice(("plain", "shared"))
        if kind == "http1 kept":
            while self.idle[name]:
                channel = self.idle[name].pop()
                if channel.is_open:
                    return channel
        channel = await Http1(self.loop, self.guard, self.ended).connect(self.nginx.ports[name])
        channel.name, channel.kept = name, kind == "http1 kept"
        return channel

    async def stream_channel(self):
        self.streams = [channel for channel in self.streams if channel.is_open and (channel.streams or not channel.closing)]
        for channel in self.random.sample(self.streams, len(self.streams)):
            if channel.has_room() and self.random.random() < 0.9:
                return channel
        channel = await Http2(self.loop, self.guard, self.ended).connect(self.nginx.ports["streams"])
        self.streams.append(channel)
        return channel

    def ended(self, channel, request, status, body, excuse=""):
        if request.id not in self.ledger.open:
            return
        if status is None:
            self.ledger.cut(request, excuse)
        else:
            self.ledger.answered(request, status, body)
        if isinstance(channel, Http1) and channel.is_open and channel.kept and len(self.idle[channel.name]) < 50:
            self.idle[channel.name].append(channel)
        elif isinstance(channel, Http1):
            channel.close()

    def abort(self, request, held=False):
        """Its client leaves; `held` if it is known to be held now."""
        if request.id not in self.ledger.open:
            return
        if isinstance(request.channel, tuple):
            channel, stream = request.channel
            # Whether nginx reads of it before the next release, the client cannot know.
            self.ledger.aborted(request, doomed=False)
            channel.reset(stream)
        else:
            self.ledger.aborted(request, doomed=held)
            request.channel.request = None
            request.channel.close(reset=self.random.random() < 0.5)

    # Control

    async def call(self, call, app=None, limit=30, **arguments):
        """A call to the control location, repeated if it is cut off: its status and its answer."""
        query = "&".join(f"{name}={value}" for name, value in {"app": app.name if app else "*", **arguments}.items())
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if self.is_over:
                raise asyncio.CancelledError
            answer = await self.call_once(f"/intermission/{call}?{query}&format=json", end)
            if answer is None:
                self.ledger.counts["calls that were cut off"] += 1
                await asyncio.sleep(0.01)
                continue
            if call != "status":
                said = answer[1].get("message", answer[1].get("error")) if isinstance(answer[1], dict) else "…"
                self.journal.note(f"{call}?{query}: {answer[0]} {said}")
            return answer
        raise Violation(f"{call}?{query} was not answered within {limit} s")

    async def call_once(self, target, end):
        """None if it is cut off; a worker that is stopped is not waited for."""
        asked = time.monotonic()
        answer = await fetch(self.nginx.ports["plain"], target, max(0.1, end - time.monotonic()))
        if answer is None:
            now = time.monotonic()
            if not self.faults.any(asked, now) and now < end:
                raise Violation(f"{target} was cut off")
            return None
        return answer[0], json.loads(answer[1])

    async def status(self, app):
        return (await self.call("status", app))[1]

    async def wait_for(self, condition, what, limit):
        """Looks again and again, at most for so many seconds, longer under valgrind."""
        end = time.monotonic() + limit * self.unhurried
        while not await condition():
            if time.monotonic() > end:
                raise Violation(f"gave up waiting for {what}")
            await asyncio.sleep(0.02)

    async def watch(self):
        """Nobody is kept waiting for ever."""
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            for request in self.ledger.open.values():
                if now - request.sent > LONGEST_LIFE * self.unhurried:
                    raise Violation("it was not answered at all", request)


def message(method, path, body, keeps):
    """The head and the body of a request of HTTP/1.1."""
    word = method.split()[0].encode()
    head = b"%s %s HTTP/1.1\r\nHost: soak\r\nConnection: %s\r\n" % (word, path, b"keep-alive" if keeps else b"close")
    if method == "POST chunked":
        parts = [body[at:at + 10_000] for at in range(0, len(body), 10_000)]
        return head + b"Transfer-Encoding: chunked\r\n\r\n", b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    if body:
        head += b"Content-Length: %d\r\n" % len(body)
    return head + b"\r\n", body
