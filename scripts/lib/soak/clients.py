"""Clients that do exactly what they are told: HTTP/1.1 and HTTP/2 on bare sockets."""

import asyncio
import socket
import struct

STATUS_OF = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}


async def fetch(port, target, limit, method="GET"):
    """The status and the body of an answer; None if it is cut off, or does not come within so many seconds."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(f"{method} {target} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            answer = await asyncio.wait_for(reader.read(), limit)
        finally:
            writer.transport.abort()
    except (OSError, asyncio.TimeoutError):
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    return (int(head.split(b" ")[1]), body) if head else None


class Channel:
    """A connection: bytes out, bytes in."""

    def __init__(self, loop, guard):
        self.loop = loop
        self.guard = guard
        self.socket = None
        self.unsent = b""
        self.used = 0

    async def connect(self, port, tries=20):
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await self.loop.sock_connect(self.socket, ("127.0.0.1", port))
        except ConnectionResetError:
            # A reload has closed a worker's own listening socket at this moment.
            self.socket.close()
            if not tries:
                raise
            return await Channel.connect(self, port, tries - 1)
        self.loop.add_reader(self.socket, self.guard(self.readable))
        return self

    @property
    def is_open(self):
        return self.socket is not None and self.socket.fileno() >= 0

    def send(self, data):
        if not self.is_open:
            return
        if self.unsent:
            self.unsent += data
            return
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        except ConnectionError:
            return
        if sent < len(data):
            self.unsent = data[sent:]
            self.loop.add_writer(self.socket, self.guard(self.writable))

    def writable(self):
        data, self.unsent = self.unsent, b""
        self.loop.remove_writer(self.socket)
        self.send(data)

    def readable(self):
        try:
            data = self.socket.recv(65_536)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if data:
            self.received(data)
        else:
            self.close()
            self.ended()

    def close(self, reset=False):
        if not self.is_open:
            return
        self.loop.remove_reader(self.socket)
        self.loop.remove_writer(self.socket)
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Http1(Channel):
    """One request at a time, on a connection that may be kept."""

    def __init__(self, loop, guard, ended):
        super().__init__(loop, guard)
        self.input = b""
        self.request = None
        self.when_ended = ended
        self.keeps = True

    def start(self, request, head, body):
        self.request = request
        self.used += 1
        self.send(head + body)

    def received(self, data):
        self.input += data
        while True:
            end = self.input.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.input[:end]
            status = int(head[9:12])
            if status == 100:
                self.input = self.input[end + 4:]
                continue
            break
        lower = head.lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15:].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self.input) < end + 4 + length:
            return
        body = self.input[end + 4:end + 4 + length]
        self.input = self.input[end + 4 + length:]
        request, self.request = self.request, None
        self.keeps = b"connection: close" not in lower and not self.unsent
        if not self.keeps:
            self.close()
        self.when_ended(self, request, status, body)

    def ended(self):
        request, self.request = self.request, None
        if request is not None:
            self.when_ended(self, request, None, b"")


def frame(kind, flags, stream, payload):
    return struct.pack(">BHBBI", len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload


def literal(text):
    """A string as HPACK has it."""
    if len(text) < 127:
        return bytes([len(text)]) + text
    length, rest = [127], len(text) - 127
    while rest >= 128:
        length.append(rest % 128 + 128)
        rest //= 128
    return bytes([*length, rest]) + text


class Http2(Channel):
    """Many streams on a connection; bodies that fit the first windows."""

    DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
    LARGEST_BODY = 60_000

    def __init__(self, loop, guard, ended):
        super().__init__(loop, guard)
        self.input = b""
        self.streams = {}
        self.last = -1
        self.closing = False
        self.window = 65_535
        self.waiting = []
        self.when_ended = ended

    async def connect(self, port, tries=20):
        await super().connect(port, tries)
        self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(self.SETTINGS, 0, 0, b""))
        return self

    def has_room(self):
        return self.is_open and not self.closing and len(self.streams) < 60 and self.used < 900

    def start(self, request, method, path, body):
        self.last += 2
        self.used += 1
        stream = self.last
        self.streams[stream] = (request, [None, b""])
        fields = ((b":method", method), (b":scheme", b"http"), (b":authority", b"soak"), (b":path", path))
        block = b"".join(b"\0" + literal(name) + literal(value) for name, value in fields)
        out = frame(self.HEADERS, 4 if body else 5, stream, block)
        if body and len(body) <= self.window and not self.waiting:
            out += self.data(stream, body)
        elif body:
            self.waiting.append((stream, body))
        self.send(out)
        return stream

    def data(self, stream, body):
        self.window -= len(body)
        parts = [body[at:at + 16_384] for at in range(0, len(body), 16_384)]
        return b"".join(
            frame(self.DATA, int(part is parts[-1]), stream, part) for part in parts
        )

    def reset(self, stream):
        self.streams.pop(stream, None)
        self.waiting = [entry for entry in self.waiting if entry[0] != stream]
        self.send(frame(self.RST_STREAM, 0, stream, struct.pack(">I", 8)))

    def received(self, data):
        self.input += data
        while len(self.input) >= 9:
            high, low, kind, flags, stream = struct.unpack(">BHBBI", self.input[:9])
            length = high << 16 | low
            if len(self.input) < 9 + length:
                return
            payload = self.input[9:9 + length]
            self.input = self.input[9 + length:]
            self.on_frame(kind, flags, stream & 0x7FFFFFFF, payload)

    def on_frame(self, kind, flags, stream, payload):
        if kind == self.SETTINGS and not flags & 1:
            self.send(frame(self.SETTINGS, 1, 0, b""))
        elif kind == self.PING and not flags & 1:
            self.send(frame(self.PING, 1, 0, payload))
        elif kind == self.GOAWAY:
            self.go_away(struct.unpack(">I", payload[:4])[0])
        elif kind == self.WINDOW_UPDATE and not stream:
            self.window += struct.unpack(">I", payload)[0]
            while self.waiting and len(self.waiting[0][1]) <= self.window:
                self.send(self.data(*self.waiting.pop(0)))
        elif stream in self.streams:
            self.on_stream(kind, flags, stream, payload)

    def on_stream(self, kind, flags, stream, payload):
        request, answer = self.streams[stream]
        if kind == self.HEADERS and answer[0] is None:
            answer[0] = status_in(payload)
        elif kind == self.DATA:
            answer[1] += payload
            if payload:
                self.send(frame(self.WINDOW_UPDATE, 0, 0, struct.pack(">I", len(payload))))
        elif kind == self.RST_STREAM:
            if struct.unpack(">I", payload)[0] == 0 and answer[0]:
                flags |= 1
            else:
                del self.streams[stream]
                request.note(f"reset by the server, code {struct.unpack('>I', payload)[0]}")
                self.when_ended(self, request, None, b"")
                return
        if flags & 1 and kind != self.RST_STREAM or kind == self.RST_STREAM:
            self.streams.pop(stream, None)
            self.when_ended(self, request, answer[0], answer[1])

    def go_away(self, last):
        self.closing = True
        for stream in [stream for stream in self.streams if stream > last]:
            request, _ = self.streams.pop(stream)
            self.when_ended(self, request, None, b"", "refused by GOAWAY")

    def ended(self):
        streams, self.streams = self.streams, {}
        for stream, (request, _) in streams.items():
            self.when_ended(self, request, None, b"")


def status_in(block):
    while block and 0x20 <= block[0] < 0x40:
        block = block[1:]
    if block[0] & 128:
        return STATUS_OF[block[0] & 127]
    return int(block[2:5])
