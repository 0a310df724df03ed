"""An HTTP/3 client that does what it is told, line by line: a call as JSON comes in, what came of it goes out."""

import asyncio
import json
import ssl
import sys

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset


class Client(QuicConnectionProtocol):
    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.http = H3Connection(self._quic)
        self.streams = {}
        self.ended = asyncio.Event()

    def quic_event_received(self, event):
        if isinstance(event, ConnectionTerminated):
            self.ended.set()
            for stream in self.streams.values():
                stream["over"].set()
        if isinstance(event, StreamReset) and event.stream_id in self.streams:
            self.streams[event.stream_id]["over"].set()
        for happened in self.http.handle_event(event):
            stream = self.streams.get(happened.stream_id)
            if stream is None:
                continue
            if isinstance(happened, HeadersReceived):
                stream["status"] = int(dict(happened.headers)[b":status"])
            if isinstance(happened, DataReceived):
                stream["body"] += happened.data.decode()
            if getattr(happened, "stream_ended", False):
                stream["over"].set()

    def request(self, method, path, body="", more=False, authority="localhost", more_headers=()):
        stream = self._quic.get_next_available_stream_id()
        self.streams[stream] = {"status": 0, "body": "", "over": asyncio.Event()}
        headers = [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path), *more_headers]
        headers = [(name.encode(), value.encode()) for name, value in headers if value is not None]
        self.http.send_headers(stream, headers, end_stream=not body and not more)
        if body:
            self.http.send_data(stream, body.encode(), end_stream=not more)
        self.transmit()
        return stream

    async def response(self, stream):
        await asyncio.wait_for(self.streams[stream]["over"].wait(), 30)
        return {name: self.streams[stream][name] for name in ("status", "body")}

    def silent(self, stream):
        return not self.ended.is_set() and not self.streams[stream]["status"]

    def cancel(self, stream):
        """As browsers do it: the rest of the answer is not wanted, nor is the rest of the request sent."""
        if stream in self._quic._streams and not self._quic._streams[stream].sender.is_finished:
            self._quic.reset_stream(stream, 0x10C)
        self._quic.stop_stream(stream, 0x10C)
        self.transmit()

    async def is_ended(self):
        await asyncio.wait_for(self.ended.wait(), 30)
        return True


async def main(port, idle):
    configuration = QuicConfiguration(is_client=True, alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE, idle_timeout=idle)
    lines = asyncio.StreamReader(limit=16_000_000)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with connect("127.0.0.1", port, configuration=configuration, create_protocol=Client) as client:
        print(json.dumps("connected"), flush=True)
        while line := await lines.readline():
            name, *arguments = json.loads(line)
            result = client.close() if name == "close" else getattr(client, name)(*arguments)
            if asyncio.iscoroutine(result):
                result = await result
            print(json.dumps(result), flush=True)


asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
