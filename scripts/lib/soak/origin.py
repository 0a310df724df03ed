"""The application behind nginx, in the same process as the clients, so that both share one clock."""

import os
import socket
import time
import urllib.parse

from .ledger import expected


class Connection:
    __slots__ = ("socket", "number", "accepted", "input", "request", "need", "left")

    def __init__(self, connection, number):
        self.socket = connection
        self.number = number
        self.accepted = time.monotonic()
        self.input = b""
        self.request = None
        self.need = None
        self.left = False


class Origin:
    """Answers each request with its number and the length of its body."""

    def __init__(self, loop, ledger, guard, path):
        self.loop = loop
        self.ledger = ledger
        self.guard = guard
        self.failing = set()
        self.at_work = {}
        self.accepted = 0
        # What is known of connections behind one that has not said yet what it is for.
        self.next = 1
        self.early = {}
        self.path = path
        self.connections = set()
        self.listen()

    def listen(self):
        # Connections to a unix socket stand in the order of the calls to connect(2). Those to a TCP
        # socket may not, when they come from several cores and the kernel is busy.
        self.listener = socket.socket(socket.AF_UNIX)
        # There at once, for who looks for it meanwhile.
        self.listener.bind(f"{self.path}.new")
        os.chmod(f"{self.path}.new", 0o777)
        self.listener.listen(4096)
        self.listener.setblocking(False)
        os.rename(f"{self.path}.new", self.path)
        self.loop.add_reader(self.listener, self.guard(self.accept))

    def go_away(self, leaves_its_name):
        """Whoever has connected is answered; nobody else can."""
        os.unlink(self.path)
        self.accept()
        self.loop.remove_reader(self.listener)
        self.listener.close()
        if leaves_its_name:
            with socket.socket(socket.AF_UNIX) as nobody:
                nobody.bind(self.path)
            os.chmod(self.path, 0o777)

    def crash(self):
        """Nobody is answered. What it had read is lost with it, and so is what it had not."""
        self.go_away(leaves_its_name=True)
        for connection in list(self.connections):
            if connection.request is not None:
                connection.request.origin_status = 502
            self.close(connection)

    def accept(self):
        while True:
            try:
                connected, _ = self.listener.accept()
            except BlockingIOError:
                return
            connected.setblocking(False)
            self.accepted += 1
            connection = Connection(connected, self.accepted)
            self.connections.add(connection)
            self.loop.add_reader(connected, self.guard(self.receive), connection)
            self.receive(connection)

    def receive(self, connection):
        try:
            data = connection.socket.recv(262_144)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            return self.close(connection, left=True)
        connection.input += data
        if connection.request is None and not self.read_head(connection):
            return
        if connection.need is not None and len(connection.input) >= connection.need:
            self.received(connection)

    def read_head(self, connection):
        end = connection.input.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = connection.input[:end].decode("latin-1")
        connection.input = connection.input[end + 4:]
        target = head.split(" ", 2)[1]
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(target).query))
        number = int(query["id"])
        connection.request = self.ledger.arrived(number, connection.accepted)
        length = 0
        for line in head.split("\r\n")[1:]:
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                length = int(value)
        connection.need = length
        self.turn(connection.number, connection.request)
        self.at_work.setdefault(connection.request.app, set()).add(connection)
        return True

    def received(self, connection):
        connection.need = None
        request = connection.request
        if connection.input != request.body:
            self.ledger.expect(False, f"its body came as {len(connection.input)} bytes", request)
        connection.input = b""
        self.loop.call_later(request.app.works_for(), self.guard(self.answer), connection)

    def answer(self, connection):
        request = connection.request
        if connection not in self.connections:
            return
        failing = request.app in self.failing
        body = expected(request)
        request.origin_status = 500 if failing else 200
        status = b"500 Failed" if failing else b"200 OK"
        try:
            connection.socket.send(b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, len(body), body))
        except (ConnectionError, BlockingIOError):
            pass
        self.close(connection)

    def close(self, connection, left=False):
        if connection.socket.fileno() < 0:
            return
        connection.left = left
        self.connections.discard(connection)
        self.loop.remove_reader(connection.socket)
        connection.socket.close()
        if connection.request is None:
            self.turn(connection.number, None)
        else:
            self.at_work[connection.request.app].discard(connection)

    def turn(self, number, request):
        """Takes the requests in the order in which nginx connected."""
        self.early[number] = request
        while self.next in self.early:
            first = self.early.pop(self.next)
            self.next += 1
            if first is not None:
                self.ledger.in_order(first)
