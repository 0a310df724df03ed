"""Compares the three restarts of the demo: what the clients saw, and what came to the application and its database.

    report.py ACCESS_LOG WITHOUT WITH AUTO

ACCESS_LOG is nginx's; the other three are folders, one for each restart, with

    requests      what httperf was to send
    load.out      what it printed: each request with its head, each answer with its head, and the summary
    arrivals.log  the application's: `release number method path`, for each request that came to it
    shop.db       its database

Prints the table and exits 0 if nothing went wrong with intermission; otherwise says what did, and exits 1. Without a call
those requests fail that are on their way when the application is stopped, and no others.
"""

import collections
import dataclasses
import itertools
import pathlib
import re
import sqlite3
import sys

# Two requests that reach different workers of nginx within this time have no order that could be told from outside.
SAME_MOMENT_SECONDS = 0.005


@dataclasses.dataclass
class Restart:
    sent: list  # the refs of all requests, in the order in which they are sent
    orders: set  # those of them that are a POST
    answered: set  # those that were answered 200
    slowest_ms: float
    reached: dict  # ref -> when it reached nginx
    arrived: list  # refs in the order in which they came to the application
    stored: collections.Counter  # ref -> how often it is in the database
    held: list  # the refs that waited at the gate, in the order in which they were sent
    went: set  # the refs of those of which nginx sent something to the application, or tried to

    @classmethod
    def read(cls, access_log, folder):
        load = (folder / "load.out").read_text()
        slowest = re.search(r"^Connection time \[ms\]: min \S+ avg \S+ max (\S+)", load, re.M)
        requests = read_requests(folder / "requests")
        reached, held, went = read_access_log(access_log)
        return cls(
            sent=list(requests),
            orders={ref for ref, method in requests.items() if method == "POST"},
            answered=read_answers(load),
            slowest_ms=float(slowest[1]),
            reached=reached,
            arrived=read_arrivals(folder / "arrivals.log"),
            stored=read_database(folder / "shop.db"),
            held=[ref for ref in requests if ref in held],
            went=went,
        )

    @property
    def failed(self):
        return len(self.sent) - len(self.answered)

    @property
    def orders_answered(self):
        return self.orders & self.answered

    @property
    def orders_stored_once(self):
        return [ref for ref in self.orders_answered if self.stored[ref] == 1]

    @property
    def orders_stored_though_failed(self):
        return [ref for ref in self.orders - self.answered if self.stored[ref]]

    @property
    def orders_stored_twice(self):
        return [ref for ref, times in self.stored.items() if times > 1]

    @property
    def arrived_twice(self):
        return [ref for ref, times in collections.Counter(self.arrived).items() if times > 1]

    @property
    def overtaken(self):
        """Held requests that another one overtook which was sent later, and had reached nginx later as well."""
        arrival = {ref: place for place, ref in enumerate(self.arrived)}
        late = {ref: self.reached[ref] + SAME_MOMENT_SECONDS for ref in self.held}
        place_sent = {ref: place for place, ref in enumerate(self.sent)}
        return [
            (ref, other)
            for ref in self.held
            if ref in arrival
            for other in itertools.islice(self.sent, place_sent[ref] + 1, None)
            if arrival.get(other, arrival[ref]) < arrival[ref] and self.reached[other] > late[ref]
        ]

    @property
    def failed_at_the_gate(self):
        """Those that failed though nothing of them was sent: the system may take it for an application that has gone."""
        return set(self.sent) - self.answered - self.went

    def complaints(self, may_fail_on_their_way=False):
        found = {
            "requests failed": len(self.failed_at_the_gate) if may_fail_on_their_way else self.failed,
            "orders were answered 200 and are not in the database exactly once": len(self.orders_answered)
            - len(self.orders_stored_once),
            "orders are in the database more than once": len(self.orders_stored_twice),
            "orders are in the database though they failed": 0 if may_fail_on_their_way else len(self.orders_stored_though_failed),
            "requests came to the application more than once": len(self.arrived_twice),
            "times a held request was overtaken": len(self.overtaken),
        }
        complaints = [f"{number} {what}" for what, number in found.items() if number]
        if not self.held:
            complaints.append("no request was held")
        return complaints


def read_requests(path):
    """The method of each request, by its ref."""
    lines = re.findall(r"^\S+\bref=(\d+)(?: method=(\w+))?", path.read_text(), re.M)
    return {ref: method or "GET" for ref, method in lines}


def read_answers(load):
    """The refs of the requests that were answered 200, and to the end."""
    refs = dict(re.findall(r"^SH(\d+):\w+ \S+\bref=(\d+) HTTP", load, re.M))
    good = re.findall(r"^RH(\d+):HTTP/1\.1 200", load, re.M)
    promised = dict(re.findall(r"^RH(\d+):Content-Length: (\d+)", load, re.M))
    came = dict(re.findall(r"^RS(\d+): header \d+ content (\d+)", load, re.M))
    return {refs[call] for call in good if call in came and came[call] == promised.get(call)}


def read_access_log(path):
    """When each request reached nginx, by its ref, the refs of those that were held, and of those that went on."""
    reached = {}
    held, went = set(), set()
    for line in path.read_text().splitlines():
        sent, line = re.match(r'"([^"]*)" (.*)', line).groups()
        ended, took, _, _, waited, uri = line.split(" ", 5)
        if ref := re.search(r"\bref=(\d+)$", uri):
            reached[ref[1]] = float(ended) - float(took)
            if waited != "-":
                held.add(ref[1])
            if re.search("[1-9]", sent):
                went.add(ref[1])
    return reached, held, went


def read_arrivals(path):
    arrivals = []
    for line in path.read_text().splitlines():
        release, number, _, target = line.split(" ", 3)
        if ref := re.search(r"\bref=(\d+)$", target):
            arrivals.append((int(release), int(number), ref[1]))
    return [ref for _, _, ref in sorted(arrivals)]


def read_database(path):
    with sqlite3.connect(path) as database:
        return collections.Counter(ref for (ref,) in database.execute("SELECT ref FROM orders WHERE ref GLOB '[0-9]*'"))


def order_kept(restart):
    if not restart.held:
        return "n/a"
    return f"no, {len(restart.overtaken)} overtaken" if restart.overtaken else "yes"


def table(columns):
    rows = [("", *columns)]
    for title, cell in (
        ("requests", lambda r: len(r.sent)),
        ("failed requests", lambda r: r.failed),
        ("slowest request", lambda r: f"{r.slowest_ms / 1000:.2f} s"),
        ("requests held", lambda r: len(r.held)),
        ("order kept", order_kept),
        ("orders (POST) answered 200", lambda r: len(r.orders_answered)),
        ("of these in the database exactly once", lambda r: len(r.orders_stored_once)),
        ("orders that failed for the client, but are in the database", lambda r: len(r.orders_stored_though_failed)),
    ):
        rows.append((title, *(str(cell(restart)) for restart in columns.values())))
    widths = [max(map(len, column)) for column in zip(*rows)]
    rule = " | ".join(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    lines = [" | ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    return "\n".join(f"| {line} |" for line in [lines[0], rule, *lines[1:]])


def main():
    access_log, *folders = map(pathlib.Path, sys.argv[1:])
    without, with_it, auto = (Restart.read(access_log, folder) for folder in folders)
    print(table({"without intermission": without, "with intermission": with_it, "by itself, without a call": auto}))
    complaints = [f"With intermission, {complaint}." for complaint in with_it.complaints()]
    complaints += [f"By itself, {complaint}." for complaint in auto.complaints(may_fail_on_their_way=True)]
    for complaint in complaints:
        print(complaint, file=sys.stderr)
    sys.exit(bool(complaints))


if __name__ == "__main__":
    main()
