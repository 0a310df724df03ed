"""Clients of HTTP/2, which do to streams and connections what libraries would not."""

import asyncio
import struct

from soak.clients import Http2, frame, literal

from .asking import Asker
from .ledger import BLOCK
from .wire import Gone, Wire, check_answer, drop

ACTS = ("whole", "whole", "begin", "begin", "go_on", "go_on", "end_early", "reset", "rapid_resets", "trailers", "headers_in_pieces",
        "ping", "priority", "widen", "stop_reading", "too_long", "bad_head", "bad_frame", "go_away")
MOST_STREAMS = 40
LONGEST_BODY = 60_000
END_STREAM, END_HEADERS, PADDED = 1, 4, 8
PRIORITY, CONTINUATION = 2, 9
ERRORS = (0, 1, 2, 5, 7, 8, 11, 4_000_000_000)
BAD_HEADS = (
    [(b":method", b"GET")], [(b":path", b"")], [(b"x-first", b"1")], [(b":method", b"GET"), (b":method", b"GET")],
    [(b":status", b"200")], [(b"Upper", b"case")], [(b"connection", b"close")], [(b"bad name", b"x")], [(b"x", b"\r\n\0")],
)


class Streamer(Asker):
    """Opens one connection after the other, and mixes streams on it."""

    async def run(self):
        while True:
            await self.visit()
            await asyncio.sleep(self.chance.random() * 0.02)

    async def visit(self):
        counts = self.world.ledger.counts
        try:
            wire = await Wire.open(self.world.nginx.ports["streams"], small=self.chance.random() < 0.2)
        except OSError:
            return await asyncio.sleep(0.05)
        counts["HTTP/2: connections"] += 1
        session = Session(self, wire)
        listening = asyncio.ensure_future(session.listen())
        try:
            await asyncio.wait_for(session.talk(listening), self.patience() * 3)
        except (Gone, OSError, TimeoutError, asyncio.TimeoutError):
            pass
        finally:
            if self.chance.random() < 0.4:
                wire.reset()
            else:
                wire.close()
            await drop(listening)


class Session:
    """A connection and its streams."""

    def __init__(self, asker, wire):
        self.asker = asker
        self.chance = asker.chance
        self.counts = asker.world.ledger.counts
        self.wire = wire
        self.last = -1
        # By their numbers: the request, how much of its body was sent, what was answered.
        self.streams = {}
        self.reads = asyncio.Event()
        self.reads.set()

    async def talk(self, listening):
        window = self.chance.choice((None, None, None, 0, 10))
        settings = struct.pack(">HI", 4, window) if window is not None else b""
        await self.wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(Http2.SETTINGS, 0, 0, settings))
        for _ in range(self.chance.randint(3, 80)):
            if listening.done():
                return
            act = self.chance.choice(self.asker.world.plan.acts)
            self.counts[f"acts: {act}"] += 1
            await getattr(self, act)()
            await asyncio.sleep(self.asker.pause() * self.chance.random())
        # To those that are left some patience is shown.
        await asyncio.wait([listening], timeout=self.asker.patience())

    # Requests

    def ask(self, length=None):
        length = self.asker.length() if length is None else length
        return self.asker.ask(min(length, LONGEST_BODY))

    def fields(self, sent, says_length):
        yield from ((b":method", sent.method.encode()), (b":scheme", b"http"), (b":authority", b"chaos"), (b":path", sent.target.encode()))
        first, *more = self.asker.fields(sent)
        length = [("content-length", sent.length)] if says_length else []
        for name, value in (first, *length, *more):
            yield name.lower().encode(), str(value).encode()

    def head(self, sent, ends, says_length=None):
        if says_length is None:
            says_length = sent.length > 0 and self.chance.random() < 0.6
        self.last += 2
        self.streams[self.last] = [sent, 0, b""]
        sent.note(f"is stream {self.last}")
        return frame(Http2.HEADERS, END_HEADERS | (END_STREAM if ends else 0), self.last, packed(self.fields(sent, says_length)))

    def data(self, stream, end, ends):
        """The next piece of a body, up to there."""
        entry = self.streams[stream]
        sent, start = entry[0], entry[1]
        entry[1] = end
        out = b""
        for at in range(start, end, 16_000):
            piece = sent.body(at, min(end, at + 16_000))
            padding = self.chance.choice((0, 0, 0, 10))
            if padding:
                piece = bytes([padding]) + piece + bytes(padding)
            out += frame(Http2.DATA, PADDED if padding else 0, stream, piece)
        return out + (frame(Http2.DATA, END_STREAM, stream, b"") if ends else b"")

    def unfinished(self):
        """A stream whose body can go on."""
        streams = [stream for stream, (sent, at, _) in self.streams.items() if at < sent.length]
        return self.chance.choice(streams) if streams else None

    async def whole(self):
        if len(self.streams) < MOST_STREAMS:
            sent = self.ask()
            head = self.head(sent, ends=not sent.length)
            await self.wire.send(head + (self.data(self.last, sent.length, True) if sent.length else b""))

    async def begin(self):
        """A head, and a part of a body."""
        if len(self.streams) < MOST_STREAMS:
            sent = self.ask(self.asker.length() or BLOCK)
            head = self.head(sent, ends=False)
            await self.wire.send(head + self.data(self.last, self.chance.randrange(sent.length), False))

    async def go_on(self):
        stream = self.unfinished()
        if stream is not None:
            sent, at, _ = self.streams[stream]
            end = self.chance.choice((sent.length, self.chance.randint(at, sent.length)))
            await self.wire.send(self.data(stream, end, ends=end == sent.length))

    async def end_early(self):
        """A body that ends before the length that it has said."""
        stream = self.unfinished()
        if stream is not None:
            entry = self.streams[stream]
            entry[0].exact = False
            entry[1] = entry[0].length
            await self.wire.send(frame(Http2.DATA, END_STREAM, stream, b""))

    async def trailers(self):
        stream = self.unfinished()
        if stream is not None:
            sent = self.streams[stream][0]
            data = self.data(stream, sent.length, False)
            await self.wire.send(data + frame(Http2.HEADERS, END_HEADERS | END_STREAM, stream, packed([(b"x-trailer", b"1")])))

    async def too_long(self):
        """A body that is longer than it has said."""
        if len(self.streams) < MOST_STREAMS:
            sent = self.ask(4 * BLOCK)
            head = self.head(sent, ends=False, says_length=True)
            more = frame(Http2.DATA, END_STREAM, self.last, sent.body(0, BLOCK))
            await self.wire.send(head + self.data(self.last, sent.length, False) + more)

    async def headers_in_pieces(self):
        if len(self.streams) < MOST_STREAMS:
            sent = self.ask(0)
            head = self.head(sent, ends=True)
            block = head[9:]
            cut = self.chance.randrange(len(block))
            await self.wire.send(frame(Http2.HEADERS, END_STREAM, self.last, block[:cut]))
            await asyncio.sleep(self.asker.pause())
            await self.wire.send(frame(CONTINUATION, END_HEADERS, self.last, block[cut:]))

    async def reset(self):
        if self.streams:
            await self.forget(self.chance.choice(list(self.streams)))

    async def forget(self, stream):
        sent, _, _ = self.streams.pop(stream)
        sent.note("is reset by its client")
        self.counts["HTTP/2: streams reset"] += 1
        await self.wire.send(frame(Http2.RST_STREAM, 0, stream, struct.pack(">I", self.chance.choice(ERRORS))))

    async def rapid_resets(self):
        for _ in range(self.chance.randint(2, 15)):
            await self.whole()
            await self.reset()

    # What is no request

    async def ping(self):
        await self.wire.send(frame(Http2.PING, 0, 0, b"chaos..."))

    async def priority(self):
        stream = self.chance.choice([*self.streams, self.last + 100])
        await self.wire.send(frame(PRIORITY, 0, max(stream, 1), struct.pack(">IB", self.chance.randrange(1000), 10)))

    async def widen(self):
        amount = struct.pack(">I", self.chance.choice((1, 100, 100_000)))
        for stream in [0, *self.streams]:
            await self.wire.send(frame(Http2.WINDOW_UPDATE, 0, stream, amount))

    async def stop_reading(self):
        self.reads.clear()
        await asyncio.sleep(self.asker.pause() * 3)
        self.reads.set()

    async def bad_head(self):
        self.last += 2
        await self.wire.send(frame(Http2.HEADERS, END_HEADERS | END_STREAM, self.last, packed(self.chance.choice(BAD_HEADS))))

    async def bad_frame(self):
        if self.chance.random() < 0.2:
            kind, flags, stream = self.chance.randrange(256), self.chance.randrange(256), self.chance.randrange(10)
            await self.wire.send(frame(kind, flags, stream, bytes(self.chance.randrange(20))))

    async def go_away(self):
        if self.chance.random() < 0.2:
            await self.wire.send(frame(Http2.GOAWAY, 0, 0, struct.pack(">II", 0, self.chance.choice(ERRORS))))

    # What nginx says

    async def listen(self):
        while True:
            await self.reads.wait()
            high, low, kind, flags, stream = struct.unpack(">BHBBI", await self.wire.exactly(9))
            payload = await self.wire.exactly(high << 16 | low)
            await self.on_frame(kind, flags, stream & 0x7FFFFFFF, payload)

    async def on_frame(self, kind, flags, stream, payload):
        if kind in (Http2.SETTINGS, Http2.PING) and not flags & 1:
            await self.wire.send(frame(kind, 1, 0, payload if kind == Http2.PING else b""))
        elif kind == Http2.DATA and payload:
            self.hear(stream, payload)
            for number in (0, stream):
                await self.wire.send(frame(Http2.WINDOW_UPDATE, 0, number, struct.pack(">I", len(payload))))
        elif kind == Http2.RST_STREAM:
            self.end(stream, "streams reset by nginx")
        if kind in (Http2.DATA, Http2.HEADERS) and flags & END_STREAM:
            self.end(stream, "streams answered")

    def hear(self, stream, payload):
        entry = self.streams.get(stream)
        if entry and len(entry[2]) < 100:
            entry[2] += payload[:100]
            check_answer(entry[0], entry[2])

    def end(self, stream, how):
        entry = self.streams.pop(stream, None)
        if entry:
            self.counts[f"HTTP/2: {how}"] += 1
            entry[0].note(f"is over: {how}")


def packed(fields):
    return b"".join(b"\0" + literal(name) + literal(value) for name, value in fields)
