"""What must be so at any time, and what when all is quiet."""

import collections
import json
import re

from soak.clients import fetch
from soak.ledger import Violation

from .nginx import OURS

# A counter that went below 0 is about 4,294,967,295.
ABSURD = 1_000_000
COUNTS = ("held", "in_flight", "upgraded")
GAUGES = ("held_requests", "in_flight_requests", "upgraded_connections", "longest_wait_seconds", "worker_held_requests")
SAMPLE = re.compile(r'intermission_(\w+)\{app="((?:[^"\\]|\\.)*)"(?:,(\w+)="([^"]*)")?\} (\S+)')


async def status(port, limit=1):
    """The apps that nginx knows; None if it does not say."""
    answer = await fetch(port, "/control/status?app=*&format=json", limit)
    try:
        return json.loads(answer[1]) if answer and answer[0] == 200 else None
    except ValueError:
        return None


async def metrics(port, limit=1):
    """All samples of apps, by name: app, label, value."""
    answer = await fetch(port, "/control/metrics", limit)
    if not answer or answer[0] != 200:
        return None
    samples = collections.defaultdict(list)
    for name, app, _, label, value in SAMPLE.findall(answer[1].decode()):
        samples[name].append((app, label, float(value)))
    return samples


def check_sane(apps):
    for app in apps:
        if any(not 0 <= app[name] <= ABSURD for name in COUNTS):
            raise Violation(f"a counter is absurd: {json.dumps(app)}")


def unquiet(apps, samples):
    """What is not as it should be when everybody has left."""
    for app in apps:
        if app["state"] != "open" or any(app[name] for name in (*COUNTS, "oldest_wait_ms")):
            yield json.dumps(app)
    for gauge in GAUGES:
        for app, label, value in samples[gauge]:
            if value:
                yield f"{gauge} of {app} {label}: {value:g}"


class Accounts:
    """What became of those that were held."""

    def __init__(self):
        self.killed = False
        # By app, how many ended without a word, as their workers were killed.
        self.lost = {}
        self.before = {}
        # Of all apps and rounds, also of those that were forgotten meanwhile.
        self.totals = collections.Counter()

    def check(self, apps, samples, killed):
        """When all is quiet; `killed` if workers were, since the last time."""
        self.killed |= killed
        ended = {app: int(value) for app, _, value in samples["wait_seconds_count"]}
        lost = {app: int(held) - ended[app] for app, _, held in samples["holds_total"]}
        for app, count in lost.items():
            # An app that nobody used may have been forgotten meanwhile, and have begun anew.
            if count < 0 or not killed and count not in (0, self.lost.get(app)):
                raise Violation(f"the end of {count} holds of {app} was not recorded (before: {self.lost.get(app, 0)})")
        self.lost = lost
        for app in apps:
            self.check_sum(app)
            self.add(app)

    def check_sum(self, app):
        """Of the rejected, some were held before. Those of a killed worker are aborted, when another one takes its place; but
        not what it let go at that moment."""
        totals = app["totals"]
        rest = totals["held"] - sum(totals[way] for way in ("released", "timed_out", "aborted"))
        if rest < 0 or not self.killed and rest > totals["rejected"]:
            raise Violation(f"the sums do not agree: {json.dumps(app)}")

    def add(self, app):
        before = self.before.get(app["app"], {})
        for name, total in app["totals"].items():
            self.totals[name] += total - before.get(name, 0) if total >= before.get(name, 0) else total
        self.before[app["app"]] = app["totals"]


class Reports:
    """Reads the sanitizer's reports as they come."""

    def __init__(self, nginx):
        self.nginx = nginx
        # About nginx itself, by process.
        self.stock = {}

    def check(self):
        for pid, text in self.nginx.reports():
            if pid in self.stock or "ABORTING" not in text:
                continue
            if OURS.search(text):
                raise Violation(f"AddressSanitizer, process {pid}:\n{text[:6000]}")
            self.stock[pid] = text
            self.nginx.crashed.add(pid)
            summary = re.search(r"SUMMARY: (.*)", text)
            print(f"note: a report that does not name the module, {summary[1] if summary else text[:200]}", flush=True)
