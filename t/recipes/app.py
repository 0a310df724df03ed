"""The application in the tests of the recipes.

    GET  /up               200 as soon as it can serve
    POST /orders?ref=NAME  writes an order down

With --database it keeps its orders in PostgreSQL, and otherwise in a file. Its connections to PostgreSQL are looked at
before they are used, as the pools of most frameworks can do. A SIGTERM ends it at once; with --graceful it takes what has
connected, and no more, and ends when that is answered.
"""

import argparse
import http.server
import queue
import signal
import socketserver
import threading
import time
from urllib.parse import parse_qs, urlsplit


class Database:
    CONNECTIONS = 20

    def __init__(self, where):
        import psycopg2

        self.connect = lambda: psycopg2.connect(where)
        self.error = psycopg2.Error
        self.pool = queue.LifoQueue()
        for _ in range(self.CONNECTIONS):
            self.pool.put(None)

    def write(self, ref):
        connection = self.pool.get()
        try:
            if not self.is_alive(connection):
                connection = self.connect()
            with connection, connection.cursor() as cursor:
                cursor.execute("INSERT INTO orders (ref) VALUES (%s)", (ref,))
        finally:
            self.pool.put(connection)

    def is_alive(self, connection):
        try:
            return connection is not None and self.ask(connection)
        except self.error:
            return False

    def ask(self, connection):
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            return cursor.fetchone() == (1,)


class File:
    def __init__(self, path):
        self.file = open(path, "a", buffering=1)

    def write(self, ref):
        self.file.write(f"{ref}\n")


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200)

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(0.02)
        try:
            self.server.orders.write(parse_qs(urlsplit(self.path).query)["ref"][0])
        except Exception as problem:
            print(problem, flush=True)
            return self.answer(500)
        self.answer(200)

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 4096  # a release may bring as many connections at once

    def end_gracefully(self):
        self.shutdown()
        self.socket.setblocking(False)
        while True:
            try:
                request, address = self.socket.accept()
            except BlockingIOError:
                break
            request.setblocking(True)
            self.process_request(request, address)
        self.server_close()


parser = argparse.ArgumentParser(description="the application in the tests of the recipes")
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--startup", type=float, default=0, help="seconds that it takes to start")
parser.add_argument("--graceful", action="store_true")
where = parser.add_mutually_exclusive_group(required=True)
where.add_argument("--database", help="connection string")
where.add_argument("--file")
options = parser.parse_args()

time.sleep(options.startup)
server = Server(("127.0.0.1", options.port), Handler)
server.orders = Database(options.database) if options.database else File(options.file)
if options.graceful:
    Server.daemon_threads = False
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.end_gracefully).start())
server.serve_forever()
