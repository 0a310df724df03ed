"""A client's connection: whatever bytes out, strict answers in, and ways to leave."""

import asyncio
import re
import socket
import struct

from soak.ledger import Violation

WITH_RESET = struct.pack("ii", 1, 0)
ANSWER_TO = re.compile(rb"answer to (\d{8})\n")


class Gone(Exception):
    """nginx has ended the connection."""


class Answer:
    def __init__(self, status, head, body):
        self.status = status
        self.head = head
        self.body = body
        self.keeps = b"connection: close" not in head


class Wire:
    @classmethod
    async def open(cls, port, small=False):
        """`small` leaves next to no room for answers that are not read."""
        connection = socket.socket()
        connection.setblocking(False)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if small:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
            streams = await asyncio.open_connection(sock=connection, limit=16_384 if small else 262_144)
        except BaseException:
            connection.close()
            raise
        return cls(connection, *streams)

    def __init__(self, connection, reader, writer):
        self.socket = connection
        self.reader = reader
        self.writer = writer

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    # Leaving

    def close(self):
        self.writer.transport.abort()

    def reset(self):
        self.linger(WITH_RESET)
        self.close()

    def linger(self, how):
        connection = self.writer.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, how)

    def finish(self):
        """No more will be sent, but answers are read."""
        if self.writer.can_write_eof() and not self.writer.transport.is_closing():
            self.writer.write_eof()

    # Answers

    async def head(self):
        head = await self.until(b"\r\n\r\n")
        if not re.match(rb"HTTP/1\.1 \d{3} ", head):
            raise Violation(f"no answer begins like that: {head[:200]!r}")
        return int(head[9:12]), head.lower()

    async def answer(self, to):
        """The final answer to a request."""
        status = 100
        while status < 101 or 101 < status < 200:
            status, head = await self.head()
        length = re.search(rb"\r\ncontent-length: (\d+)\r\n", head)
        if to.method == "HEAD" or status in (101, 204, 304):
            body = b""
        elif b"\r\ntransfer-encoding: chunked\r\n" in head:
            body = await self.chunks()
        elif length:
            body = await self.exactly(int(length[1]))
        else:
            body = await self.rest()
        return Answer(status, head, body)

    async def chunks(self):
        body = b""
        while size := int(await self.until(b"\r\n"), 16):
            body += (await self.exactly(size + 2))[:-2]
        await self.exactly(2)
        return body

    async def rest(self):
        body = b""
        while data := await self.reader.read(65_536):
            body += data
        return body

    async def until(self, end):
        try:
            return await self.reader.readuntil(end)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            raise Gone from None

    async def exactly(self, count):
        try:
            return await self.reader.readexactly(count)
        except asyncio.IncompleteReadError:
            raise Gone from None


def check_answer(sent, body):
    """What the origin said, it said to this request."""
    found = ANSWER_TO.match(body)
    if found and int(found[1]) != sent.id and not sent.shared:
        raise Violation(f"it got the answer to request {int(found[1])}", sent)


async def drop(task):
    """Ends a task, whose result nobody needs unless it found something."""
    # Asked once, it may go on: a `wait_for` that has just got its result forgets about it (before Python 3.12).
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=1)
    if not task.cancelled() and isinstance(task.exception(), Violation):
        raise task.exception()
