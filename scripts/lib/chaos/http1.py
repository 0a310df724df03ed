"""Clients of HTTP/1.1, and what they do to a connection."""

import asyncio

from soak.ledger import Violation

from .asking import Asker
from .garbage import BROKEN_CHUNKS, FRAMED, UNFRAMED
from .ledger import BLOCK
from .places import UPGRADE
from .wire import Gone, Wire, check_answer, drop

MANNERS = ("whole", "pipeline", "half", "rest_later", "rest_later", "dribble", "chunks", "broken_chunks", "expect", "garbage",
           "upgrade", "big", "half_close", "old")


class Visitor(Asker):
    """Opens one connection after the other."""

    async def run(self):
        while True:
            await self.visit()
            await asyncio.sleep(self.chance.random() * 0.02)

    async def visit(self):
        port = self.world.nginx.ports[self.chance.choice(("plain", "shared"))]
        counts = self.world.ledger.counts
        try:
            wire = await Wire.open(port, small=self.chance.random() < 0.2)
        except OSError:
            return await asyncio.sleep(0.05)
        counts["HTTP/1.1: connections"] += 1
        try:
            await asyncio.wait_for(self.talk(wire), self.patience())
        except (TimeoutError, asyncio.TimeoutError):
            counts["HTTP/1.1: left by an impatient client"] += 1
        except (Gone, OSError):
            counts["HTTP/1.1: ended by nginx"] += 1
        finally:
            await self.leave(wire)

    async def talk(self, wire):
        for _ in range(self.chance.randint(1, 6)):
            self.manner = self.chance.choice(self.world.plan.manners)
            self.world.ledger.counts[f"manners: {self.manner}"] += 1
            if not await getattr(self, self.manner)(wire):
                return

    async def leave(self, wire):
        try:
            if self.chance.random() < 0.2:
                wire.finish()
                await asyncio.sleep(self.pause())
        except OSError:
            pass
        finally:
            if self.chance.random() < 0.4:
                wire.reset()
            else:
                wire.close()

    # Parts of requests

    def ask(self, *what, **more):
        sent = super().ask(*what, **more)
        sent.note(self.manner)
        return sent

    def head(self, sent, version="1.1", more=(), framed=True):
        lines = [f"{sent.method} {sent.target} HTTP/{version}", "Host: chaos"]
        fields = self.fields(sent)
        if framed and (sent.length or sent.method in ("POST", "PUT")):
            fields.insert(1, ("Content-Length", sent.length))
        lines += [f"{name}: {value}" for name, value in [*fields[:-1], *more, fields[-1]]]
        return "\r\n".join([*lines, "", ""]).encode()

    def chunked_head(self, sent):
        return self.head(sent, more=[("Transfer-Encoding", "chunked")], framed=False)

    def chunked(self, sent):
        """The body in chunks, in pieces between which somebody may hesitate."""
        at = 0
        while at < sent.length:
            size = min(sent.length - at, self.chance.choice((1, BLOCK, 4 * BLOCK, 5000, 30_000)))
            yield b"%x%s\r\n" % (size, b";a=b" if self.chance.random() < 0.1 else b"")
            yield sent.body(at, at + size) + b"\r\n"
            at += size
        yield b"0\r\n%s\r\n" % (b"X-Trailer: 1\r\n" if self.chance.random() < 0.1 else b"")

    def cut_of(self, sent):
        """Where a body is interrupted: rather where it looks like the beginning of a request."""
        if self.chance.random() < 0.7:
            return BLOCK * self.chance.randrange(-(-sent.length // BLOCK))
        return self.chance.randrange(sent.length)

    async def hear(self, wire, sent):
        """Whether there can be another request behind the answer."""
        answer = await wire.answer(sent)
        sent.note(f"answered {answer.status}")
        self.world.ledger.counts[f"HTTP/1.1, answers: {answer.status}"] += 1
        check_answer(sent, answer.body)
        return answer.keeps

    # Manners

    async def whole(self, wire):
        sent = self.ask()
        await wire.send(self.head(sent) + sent.body())
        return await self.hear(wire, sent)

    async def old(self, wire):
        sent = self.ask()
        keep = [("Connection", "keep-alive")] if self.chance.random() < 0.5 else []
        await wire.send(self.head(sent, "1.0", keep) + sent.body())
        return await self.hear(wire, sent)

    async def big(self, wire):
        """A big answer, of which nothing is read for a while."""
        sent = self.ask()
        sent.target = sent.target.replace("how=", "how=big.")
        await wire.send(self.head(sent) + sent.body())
        await asyncio.sleep(self.pause() * 4)
        return await self.hear(wire, sent)

    async def pipeline(self, wire):
        several = [self.ask() for _ in range(self.chance.randint(2, 5))]
        data = b"".join(self.head(sent) + sent.body() for sent in several)
        last = len(data) - (self.chance.randrange(100) if self.chance.random() < 0.2 else 0)
        await wire.send(data[:last])
        for sent in several:
            if not await self.hear(wire, sent):
                return False
        return last == len(data)

    async def half(self, wire):
        """A part of a request, and no more."""
        sent = self.ask(self.length() or BLOCK)
        data = self.head(sent) + sent.body()
        await wire.send(data[:self.chance.randrange(len(data))])
        await asyncio.sleep(self.pause())
        return False

    async def rest_later(self, wire):
        """The rest of a body, when it is answered or after a while. It must never be taken for a request."""
        in_chunks = self.chance.random() < 0.3
        sent = self.ask(self.length() or 4 * BLOCK, chunked=in_chunks)
        if in_chunks:
            chunks = list(self.chunked(sent))
            start = self.chance.randrange(1, len(chunks))
            first, rest = self.chunked_head(sent) + b"".join(chunks[:start]), b"".join(chunks[start:])
        else:
            cut = self.cut_of(sent)
            first, rest = self.head(sent) + sent.body(0, cut), sent.body(cut)
        await wire.send(first)
        sent.note("the client waits with the rest of the body")
        hearing = asyncio.ensure_future(self.hear(wire, sent))
        try:
            done, _ = await asyncio.wait([hearing], timeout=self.chance.choice((0.01, 0.1, 0.5, 1.2)))
            sent.note("the client sends the rest of the body")
            await wire.send(rest)
            keeps = await hearing
        finally:
            await drop(hearing)
        if done:
            await self.hear_nothing(wire, sent)
        return keeps

    async def hear_nothing(self, wire, sent):
        try:
            more = await asyncio.wait_for(wire.reader.read(1000), 0.3)
        except (TimeoutError, asyncio.TimeoutError):
            return
        if not more:
            raise Gone
        raise Violation(f"its answer is followed by one that nobody asked for: {more[:200]!r}", sent)

    async def dribble(self, wire):
        sent = self.ask()
        data = self.head(sent) + sent.body()
        while data:
            size = self.chance.choice((1, 20, 200, 20_000))
            await wire.send(data[:size])
            data = data[size:]
            await asyncio.sleep(self.chance.random() * 0.02)
        return await self.hear(wire, sent)

    async def chunks(self, wire):
        sent = self.ask(chunked=True)
        await wire.send(self.chunked_head(sent))
        for piece in self.chunked(sent):
            await wire.send(piece)
            if self.chance.random() < 0.1:
                await asyncio.sleep(self.pause())
        return await self.hear(wire, sent)

    async def broken_chunks(self, wire):
        sent = self.ask(4 * BLOCK, chunked=True)
        sent.exact = False
        good = b"%x\r\n%s\r\n" % (BLOCK, sent.body(0, BLOCK)) if self.chance.random() < 0.7 else b""
        await wire.send(self.chunked_head(sent) + good)
        await asyncio.sleep(self.pause())
        await wire.send(self.chance.choice(BROKEN_CHUNKS) + sent.body(len(good) and BLOCK))
        await self.hear(wire, sent)
        return False

    async def expect(self, wire):
        sent = self.ask(self.length() or BLOCK)
        await wire.send(self.head(sent, more=[("Expect", "100-continue")]))
        status, _ = await wire.head()
        sent.note(f"it expected 100, and got {status}")
        if status != 100:
            return False
        cut = self.cut_of(sent)
        await wire.send(sent.body(0, cut))
        await asyncio.sleep(self.pause())
        await wire.send(sent.body(cut))
        return await self.hear(wire, sent)

    async def half_close(self, wire):
        sent = self.ask()
        data = self.head(sent) + sent.body()
        await wire.send(data[:len(data) - self.chance.choice((0, 0, 10))])
        await asyncio.sleep(self.pause())
        wire.finish()
        await self.hear(wire, sent)
        return False

    async def upgrade(self, wire):
        sent = self.ask(0, UPGRADE, "GET")
        await wire.send(self.head(sent, more=[("Upgrade", "chaos"), ("Connection", "upgrade")]))
        answer = await wire.answer(sent)
        check_answer(sent, answer.body)
        if answer.status != 101:
            return answer.keeps
        self.world.ledger.counts["requests: upgraded"] += 1
        for at in range(0, 1000, 100):
            await wire.send(sent.body(at, at + 100))
            if await wire.exactly(100) != sent.body(at, at + 100):
                raise Violation("what came back after the upgrade is another's", sent)
            await asyncio.sleep(self.pause())
        return False

    async def garbage(self, wire):
        """A head that is not as it should be, or a body whose length is not clear."""
        sent = self.ask(2 * BLOCK, method="POST")
        sent.exact = False
        kinds, body = self.chance.choice(((FRAMED, sent.body()), (UNFRAMED, b"")))
        head = self.chance.choice(kinds).format(target=sent.target, id=f"{sent.id:08}", long="z" * 40_000)
        sent.note(f"with the head {head[:300]!r}")
        await wire.send(head.encode("latin-1") + body)
        await self.hear(wire, sent)
        return False
