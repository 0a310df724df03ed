"""The application behind nginx: it reads strictly, and answers well, badly, late or not at all."""

import asyncio
import re
import socket
import urllib.parse

from .strict import Cut, Reading
from .wire import WITH_RESET, drop

# How long an answer waits for the rest of a body. nginx has all of it before it connects, unless it does not buffer.
PATIENCE = 0.3
LONGEST = 3
BIG = 300_000
SLICED = 3_500
REASONS = {200: "OK", 204: "No Content", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 500: "Failed",
           502: "Bad Gateway", 503: "Unavailable", 504: "Timed Out"}
STATUSES = tuple(str(status) for status in REASONS)
WAYS = ("ok", "late", "early", "big", "drip", "chunked", "unkept", "accel", "ssi", "close", "reset", "hang", "garbage",
        "halfway", "half_chunk", "half_head", *STATUSES)


class Origin:
    def __init__(self, world):
        self.world = world
        self.chance = world.dice("origin")
        self.open = set()
        self.away = 0

    async def start(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=1024)
        self.port = self.server.sockets[0].getsockname()[1]
        await self.come_back()

    # At a second port it goes away and comes back, until the round is over.

    async def come_back(self):
        while True:
            try:
                self.there = await asyncio.start_server(self.serve, "127.0.0.1", self.away, backlog=1024)
                break
            except OSError:
                # Somebody's connection has that port for the moment.
                await asyncio.sleep(0.05)
        self.away = self.there.sockets[0].getsockname()[1]

    def go_away(self):
        self.there.close()
        for writer in list(self.open):
            if writer.get_extra_info("sockname")[1] == self.away and self.chance.random() < 0.5:
                writer.transport.abort()

    async def run(self):
        while True:
            await asyncio.sleep(self.chance.random())
            self.go_away()
            try:
                await asyncio.sleep(self.chance.choice((0.01, 0.05, 0.3, 1.5)))
            finally:
                await self.come_back()

    async def serve(self, reader, writer):
        self.open.add(writer)
        reading = Reading(reader, self.world.ledger)
        try:
            while (incoming := await reading.head()) is not None:
                self.world.ledger.counts["requests: at the origin"] += 1
                if not await Exchange(self, reading, writer, incoming).run():
                    break
        except (Cut, ConnectionError, TimeoutError, asyncio.TimeoutError):
            self.world.ledger.counts["requests: cut off at the origin"] += 1
        except asyncio.CancelledError:
            # The run is over.
            pass
        except Exception as problem:
            self.world.fail(problem)
        finally:
            self.open.discard(writer)
            writer.transport.abort()

    def way(self, incoming):
        """How to answer: as the client asks for, and then as it comes."""
        asked = urllib.parse.parse_qs(urllib.parse.urlsplit(incoming.target).query).get("how", [""])[0]
        asked = [way for way in asked.split(".") if way in WAYS]
        visit = incoming.sent.visits
        incoming.sent.visits += 1
        way = asked[visit] if visit < len(asked) else self.chance.choice(self.world.plan.ways)
        return "ok" if way == "accel" and not may_redirect(incoming) else way


def may_redirect(incoming):
    """Not where nginx itself would lose the body, nor from where it would not say whose the request is."""
    return incoming.field("connection") != b"close" and not incoming.target.startswith(("/off/", "/straight/", "/authorize"))


class Exchange:
    """A request and its answer."""

    def __init__(self, origin, reading, writer, incoming):
        self.chance = origin.chance
        self.reading = reading
        self.writer = writer
        self.incoming = incoming
        self.way = origin.way(incoming)
        self.id = incoming.sent.id
        self.keeps = incoming.field("connection") != b"close"

    async def run(self):
        """Whether the connection can be used for another one."""
        reading = asyncio.ensure_future(self.reading.body(self.incoming))
        try:
            if self.way != "early":
                await asyncio.wait([reading], timeout=PATIENCE)
            if reading.done():
                reading.result()
            self.incoming.sent.note(f"the origin answers: {self.way}")
            await asyncio.wait_for(self.answer(), LONGEST)
            if self.keeps:
                await asyncio.wait_for(asyncio.shield(reading), LONGEST)
        finally:
            await drop(reading)
        return self.keeps

    async def answer(self):
        if self.way in STATUSES:
            return await self.say(int(self.way))
        if self.incoming.method == "HEAD" and self.way not in ("close", "reset", "hang", "garbage"):
            return await self.say()
        if self.incoming.field("upgrade") and self.way in ("ok", "late", "early"):
            return await self.tunnel()
        await getattr(self, self.way)()

    def text(self, length=0):
        return (b"answer to %08d\n" % self.id).ljust(length, b".")

    def head(self, status, *fields):
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Partial')}", "Content-Type: text/html", *fields]
        return "\r\n".join([*lines, *([] if self.keeps else ["Connection: close"]), "", ""]).encode()

    async def say(self, status=200, body=None, fields=()):
        body = self.text(40) if body is None else body
        length = [] if status == 204 else [f"Content-Length: {len(body)}"]
        if status == 204 or self.incoming.method == "HEAD":
            body = b""
        await self.send(self.head(status, *fields, *length) + body)

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    def end(self):
        self.keeps = False

    # Ways to answer well

    async def ok(self):
        wanted = re.fullmatch(rb"bytes=(\d+)-(\d+)", self.incoming.field("range"))
        if not wanted:
            return await self.say()
        first, last = int(wanted[1]), min(int(wanted[2]), SLICED - 1)
        if first > last:
            return await self.say(404)
        await self.say(206, self.text(SLICED)[first:last + 1], [f"Content-Range: bytes {first}-{last}/{SLICED}"])

    async def late(self):
        await asyncio.sleep(self.chance.choice((0.02, 0.1, 0.4, 1)))
        await self.ok()

    async def early(self):
        await self.ok()

    async def big(self):
        await self.say(body=self.text(BIG))

    async def drip(self):
        await self.send(self.head(200, "Content-Length: 100"))
        for start in range(0, 100, 20):
            await self.send(self.text(100)[start:start + 20])
            await asyncio.sleep(self.chance.random() * 0.1)

    async def chunked(self, last=b"0\r\n\r\n"):
        text = self.text(60)
        await self.send(self.head(200, "Transfer-Encoding: chunked"))
        for start in range(0, 60, 20):
            await self.send(b"14\r\n%s\r\n" % text[start:start + 20])
            await asyncio.sleep(self.chance.random() * 0.02)
        await self.send(last)

    async def unkept(self):
        self.end()
        await self.say()

    async def accel(self):
        query = f"?id={self.id:08}"
        target = self.chance.choice((
            "@api", "@shop", "@sorry", "/inside/" + query, "/page/" + query, "/held/" + query, "/error/" + query,
            "/open-file/big.bin", "/files/small.html", "/missing/" + query, "/accel/" + query,
        ))
        self.incoming.sent.note(f"X-Accel-Redirect: {target}")
        await self.say(fields=[f"X-Accel-Redirect: {target}"])

    async def ssi(self):
        paths = (f"/{name}/?id={self.id:08}" for name in ("plain", "inside", "capped"))
        includes = "".join(f'<!--# include virtual="{path}" -->' for path in paths)
        await self.say(body=self.text() + includes.encode())

    async def tunnel(self):
        """After an upgrade everything that comes is of that client, and is sent back."""
        self.end()
        await self.reading.body(self.incoming)
        await self.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: chaos\r\nConnection: upgrade\r\n\r\n")
        while True:
            data = await self.reading.some(65_536)
            self.reading.take(self.incoming, data)
            await self.send(data)

    # Ways to fail

    async def close(self):
        self.end()

    async def reset(self):
        self.end()
        # Unless the origin has gone away meanwhile.
        if not self.writer.transport.is_closing():
            self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, WITH_RESET)

    async def hang(self):
        self.end()
        await asyncio.sleep(0.2 + self.chance.random() * 2)

    async def garbage(self):
        self.end()
        await self.send(b"HTTP/1.1 200 OK\r\n\0: \xff\r\n\r\n")

    async def half_head(self):
        self.end()
        await self.send(b"HTTP/1.1 200 OK\r\nContent-Le")

    async def halfway(self):
        self.end()
        await self.send(self.head(200, "Content-Length: 5000") + self.text(self.chance.choice((20, 4000))))
        await asyncio.sleep(self.chance.random() * 0.1)

    async def half_chunk(self):
        self.end()
        await self.chunked(last=b"14\r\nhalf")
