"""What clients have asked for, so that the origin can tell whose each byte is."""

import collections
import time

KEPT = 40_000
BLOCK = 64


class Sent:
    """A request that a client sends, or a part of it."""

    __slots__ = ("id", "place", "method", "target", "length", "exact", "shared", "visits", "history")

    def __init__(self, number, place, method, target, length):
        self.id = number
        self.place = place
        self.method = method
        self.target = target
        # How long its body is; at most so long, if that is not exact.
        self.length = length
        self.exact = True
        # It may be answered with what another one was answered (a cache).
        self.shared = place.shared
        # How often it has come to the origin.
        self.visits = 0
        self.history = []
        self.note(f"{method} {target}, {length} bytes")

    def note(self, what):
        self.history.append((time.monotonic(), what))

    def body(self, start=0, end=None):
        """A part of its body. All of it is requests, one in each block, for whoever takes it for that."""
        end = self.length if end is None else end
        first, last = start // BLOCK, -(-end // BLOCK)
        return (block(self.id) * (last - first))[start - first * BLOCK:end - first * BLOCK]


def block(number):
    head = b"GET /smuggled/?id=%08d HTTP/1.0\r\nX: " % number
    return head + b"x" * (BLOCK - len(head) - 4) + b"\r\n\r\n"


class Ledger:
    """The requests of a run; the oldest are forgotten."""

    def __init__(self):
        self.last = 0
        self.sent = collections.OrderedDict()
        self.counts = collections.Counter()

    def begin(self, place, method, target, length):
        self.last += 1
        request = Sent(self.last, place, method, target.format(id=f"{self.last:08}"), length)
        self.sent[request.id] = request
        if len(self.sent) > KEPT:
            self.sent.popitem(last=False)
        return request

    def find(self, number):
        return self.sent.get(number)
