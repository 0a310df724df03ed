"""Reads what nginx sends to the origin, as somebody who looks for request smuggling would: byte by byte."""

import asyncio
import re

from soak.ledger import Violation

REQUEST_LINE = re.compile(rb"([A-Z]+) (/[^ ]*) HTTP/1\.1")
FIELD = re.compile(rb"([A-Za-z0-9_-]+): ([^\r\n\0]*)")
ID = re.compile(rb"[?&]id=(\d{8})(?:&|$)")


class Cut(Exception):
    """The connection ended in the middle of a request, as it may."""


class Incoming:
    """A request as it comes in."""

    def __init__(self, sent, method, target, fields):
        self.sent = sent
        self.method = method
        self.target = target
        self.fields = fields
        self.got = 0

    def field(self, name):
        return self.fields.get(name, [b""])[0]

    def __str__(self):
        return f"{self.method} {self.target}, of whose body {self.got} bytes had come"


class Reading:
    """A connection from nginx, of which every byte has to belong to the request that is read."""

    def __init__(self, reader, ledger):
        self.reader = reader
        self.ledger = ledger
        self.before = None

    async def head(self):
        """The next request; None if there is none."""
        raw = await self.line(b"\r\n\r\n", "a head")
        if not raw:
            return None
        line, *rest = raw[:-4].split(b"\r\n")
        found = REQUEST_LINE.fullmatch(line)
        if not found:
            raise self.foreign("no request begins like that", raw)
        fields = {}
        for text in rest:
            field = FIELD.fullmatch(text)
            if not field:
                raise self.foreign(f"there is no header like {text!r}", raw)
            fields.setdefault(field[1].lower().decode(), []).append(field[2])
        method, target = found[1].decode(), found[2].decode("latin-1")
        incoming = Incoming(self.whose(found[2], fields, raw), method, target, fields)
        self.before = incoming
        incoming.sent.note(f"reached the origin as {method} {target}")
        return incoming

    def whose(self, target, fields, raw):
        """The request that the target, the first and the last header agree about."""
        numbers = [ID.findall(target), fields.get("x-first", []), fields.get("x-last", [])]
        if target.startswith(b"/smuggled/"):
            number = numbers[0][0] if numbers[0] else b"0"
            raise self.foreign("a piece of a body was taken for a request", raw, self.ledger.find(int(number)))
        if len(numbers[0]) != 1 or any(number != numbers[0] for number in numbers):
            raise self.foreign("its target and its headers are of different requests", raw)
        number = int(numbers[0][0])
        sent = self.ledger.find(number)
        if sent is None:
            raise self.foreign(f"nobody sent a request {number}", raw)
        return sent

    async def body(self, incoming):
        """Reads all of it."""
        lengths, codings = incoming.fields.get("content-length", []), incoming.fields.get("transfer-encoding", [])
        sent = incoming.sent
        if len(lengths) + len(codings) > 1 or codings not in ([], [b"chunked"]):
            raise Violation(f"its body is framed in two ways: {lengths} {codings}", sent)
        if codings:
            await self.chunks(incoming)
        elif lengths:
            length = int(lengths[0])
            self.check_length(incoming, length)
            while incoming.got < length:
                self.take(incoming, await self.some(length - incoming.got))

    async def chunks(self, incoming):
        while True:
            line = await self.line(b"\r\n", "the size of a chunk")
            if not line:
                raise Cut
            if not re.fullmatch(rb"[0-9a-f]+\r\n", line):
                raise self.foreign("no chunk begins like that", line, incoming.sent)
            end = int(line, 16) + incoming.got
            last = end == incoming.got
            while incoming.got < end:
                self.take(incoming, await self.some(end - incoming.got))
            if await self.exactly(2) != b"\r\n":
                raise self.foreign("a chunk does not end where it says", line, incoming.sent)
            if last:
                return self.check_length(incoming, incoming.got)

    @staticmethod
    def check_length(incoming, length):
        sent = incoming.sent
        # On a connection that is not kept, nothing can follow what is missing.
        may_be_shorter = not sent.exact or incoming.field("connection") == b"close"
        if length == sent.length or length == 0 or (may_be_shorter and length < sent.length):
            return
        raise Violation(f"its body has {length} bytes at the origin", sent)

    def take(self, incoming, data):
        """Another piece of a body has come."""
        expected = incoming.sent.body(incoming.got, incoming.got + len(data))
        if data != expected:
            same = next(at for at, (one, other) in enumerate(zip(data, expected)) if one != other)
            place = f"byte {incoming.got + same} of the body of request {incoming.sent.id} at the origin is another's"
            raise self.foreign(place, data[same:], incoming.sent)
        incoming.got += len(data)

    def foreign(self, what, data, request=None):
        before = f"\nOn this connection came before: {self.before}" if self.before else ""
        return Violation(f"{what}:\n    {data[:300]!r}{before}", request or (self.before and self.before.sent))

    # What nginx may cut off anywhere, as long as nothing else follows

    async def line(self, end, what):
        try:
            return await self.reader.readuntil(end)
        except asyncio.IncompleteReadError as cut:
            if b"/smuggled/" in cut.partial:
                raise self.foreign("a piece of a body was taken for a request", cut.partial) from None
            if cut.partial:
                raise Cut from None
            return b""
        except asyncio.LimitOverrunError:
            raise self.foreign(f"{what} without an end", await self.reader.read(1000)) from None

    async def some(self, most):
        data = await self.reader.read(min(most, 65_536))
        if not data:
            raise Cut
        return data

    async def exactly(self, count):
        try:
            return await self.reader.readexactly(count)
        except asyncio.IncompleteReadError:
            raise Cut from None
