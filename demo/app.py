"""The application of the demo: a small shop that keeps its orders in SQLite.

    GET  /up       200 as soon as it can serve
    GET  /orders   the latest orders
    POST /orders   places one: ref=NUMBER&customer=NAME&amount=MONEY

It comes in two releases, which differ in the database schema that they need. A SIGTERM ends it at once, whatever it
is doing: like most applications it has no shutdown of its own that would wait for the requests under way.

Each request is written to the arrival log as `release number method path`. The number counts connections in the
order in which they came. nginx opens one for each request, so that is the order of the requests as well.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import sqlite3
import sys
from urllib.parse import parse_qs

BACKLOG = 4096  # a release may bring as many connections at once
PAYMENT_SECONDS = 0.05  # what the shop waits for its payment service, for each order
BODY_LIMIT = 64 * 1024

STATEMENTS = {
    1: {
        "latest": "SELECT id, ref, customer, amount FROM orders ORDER BY id DESC LIMIT 5",
        "place": "INSERT INTO orders (ref, customer, amount, placed_at) VALUES (?, ?, ?, datetime('now'))",
    },
    2: {
        "latest": "SELECT id, ref, customer, amount_cents / 100.0 FROM orders ORDER BY id DESC LIMIT 5",
        "place": "INSERT INTO orders (ref, customer, amount_cents, placed_at) "
        "VALUES (?, ?, CAST(round(? * 100) AS INTEGER), CAST(strftime('%s', 'now') AS INTEGER))",
    },
}


class Shop:
    """The orders in the database."""

    def __init__(self, path, release):
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.execute("PRAGMA synchronous = NORMAL")
        (schema,) = self.database.execute("PRAGMA user_version").fetchone()
        if schema != release:
            sys.exit(f"app: release {release} needs schema {release}, but the database has schema {schema}")
        self.statements = STATEMENTS[release]

    def latest(self):
        names = ("id", "ref", "customer", "amount")
        return [dict(zip(names, row)) for row in self.database.execute(self.statements["latest"])]

    async def place(self, ref, customer, amount):
        number = self.database.execute(self.statements["place"], (ref, customer, amount)).lastrowid
        await asyncio.sleep(PAYMENT_SECONDS)
        return {"order": number, "ref": ref}


class Server:
    """Just enough HTTP/1.1 to stand behind a proxy."""

    def __init__(self, shop, release, log):
        self.shop = shop
        self.release = release
        self.log = log
        self.arrivals = itertools.count(1)
        self.tasks = set()

    def accept(self, reader, writer):
        task = asyncio.create_task(self.serve(next(self.arrivals), reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def serve(self, arrival, reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError), contextlib.closing(writer):
            keep = True
            while keep:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, version = head[0].split(" ")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
                body = await reader.readexactly(min(int(headers.get("content-length", 0)), BODY_LIMIT))

                print(self.release, arrival, method, target, file=self.log)
                status, answer = await self.answer(method, target.partition("?")[0], body)

                keep = headers.get("connection", "keep-alive" if version == "HTTP/1.1" else "close") != "close"
                arrival = next(self.arrivals) if keep else None
                writer.write(response(status, answer, keep))
                await writer.drain()

    async def answer(self, method, path, body):
        if path == "/up":
            return "200 OK", {"release": self.release}
        if path not in ("/", "/orders"):
            return "404 Not Found", {"error": "there are only /orders and /up"}
        if method in ("GET", "HEAD"):
            return "200 OK", {"release": self.release, "latest": self.shop.latest()}
        if method != "POST":
            return "405 Method Not Allowed", {"error": "GET or POST"}
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        try:
            order = (form["ref"], form.get("customer", "unknown"), float(form.get("amount", 0)))
        except (KeyError, ValueError):
            return "400 Bad Request", {"error": "an order has a ref, and its amount is a number"}
        return "200 OK", await self.shop.place(*order)


def response(status, answer, keep):
    body = json.dumps(answer).encode() + b"\n"
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n"
    )
    return head.encode() + body


async def main():
    parser = argparse.ArgumentParser(description="the application of the demo")
    parser.add_argument("--release", type=int, choices=sorted(STATEMENTS), required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--arrivals", required=True, help="file to append the arrival log to")
    options = parser.parse_args()

    with open(options.arrivals, "a", buffering=1, encoding="utf-8") as log:
        server = Server(Shop(options.database, options.release), options.release, log)
        listener = await asyncio.start_server(server.accept, "127.0.0.1", options.port, backlog=BACKLOG)
        await listener.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
