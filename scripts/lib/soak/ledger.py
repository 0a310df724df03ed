"""What was asked, what became of it, and whether that is what should have become of it."""

import collections
import time

KEPT = 20_000


class Violation(Exception):
    """A promise that was not kept."""

    def __init__(self, what, request=None):
        super().__init__(what)
        self.request = request


class Request:
    """One request, from the moment it is sent until its end is known."""

    __slots__ = (
        "id", "app", "kind", "rank", "sent", "ends", "status", "history", "doomed", "held", "channel", "body", "origin_status",
        "reused", "aborted", "bypass", "retried", "accepted",
    )

    def __init__(self, number, app, kind, future):
        self.id = number
        self.app = app
        self.kind = kind
        self.rank = app.rank
        self.sent = time.monotonic()
        self.ends = future
        self.status = None
        self.history = []
        # Its client has left while it was held: it must not reach the origin.
        self.doomed = False
        # It is known to have been held.
        self.held = False
        self.aborted = False
        self.bypass = False
        # It went over a connection that had been used before.
        self.reused = False
        self.channel = None
        self.body = b""
        self.origin_status = None
        self.accepted = None
        self.note(f"sent as {kind}, rank {self.rank}")

    def note(self, what):
        self.history.append((time.monotonic(), what))


class Journal:
    """What was done to nginx, in memory and in a file."""

    def __init__(self, file):
        self.start = time.monotonic()
        self.file = open(file, "w", buffering=1)
        self.entries = collections.deque(maxlen=400)

    def note(self, what):
        entry = (time.monotonic(), what)
        self.entries.append(entry)
        print(self.line(entry), file=self.file)

    def line(self, entry):
        return f"{entry[0] - self.start:10.4f}  {entry[1]}"


class Ledger:
    """All requests of a run."""

    def __init__(self, loop, journal, faults):
        self.loop = loop
        self.journal = journal
        self.faults = faults
        self.open = {}
        self.recent = collections.OrderedDict()
        self.arrivals = bytearray(1)
        self.counts = collections.Counter()
        self.last = 0

    def begin(self, app, kind):
        self.last += 1
        self.arrivals.append(0)
        request = Request(self.last, app, kind, self.loop.create_future())
        self.open[request.id] = request
        app.outstanding.add(request)
        self.counts["sent"] += 1
        return request

    def forget(self, request):
        """It could not even be sent, as the connection had ended."""
        self.counts["not sent"] += 1
        self.end(request)

    # At the origin

    def arrived(self, number, accepted):
        """A request has come to the origin, over a connection accepted at that time."""
        request = self.open.get(number) or self.recent.get(number)
        if not 0 < number <= self.last:
            raise Violation(f"the origin got a request that nobody sent: {number}")
        self.arrivals[number] += 1
        if self.arrivals[number] > 1:
            raise Violation("it reached the origin more than once", request)
        if request is None:
            raise Violation(f"request {number} reached the origin long after its end")
        request.note("reached the origin")
        request.accepted = accepted
        self.counts["reached the origin"] += 1
        if request.doomed:
            raise Violation("its client had left while it was held, and it reached the origin", request)
        self.check_leak(request, accepted)
        return request

    def check_leak(self, request, accepted):
        app = request.app
        if request.bypass:
            return
        if app.max_time and accepted - request.sent >= app.max_time - 0.1:
            return
        for seal in app.seals:
            if not seal.start < accepted < seal.end:
                continue
            if request.sent > seal.start:
                raise Violation("it was sent while its app was paused, and reached the origin", request)
            if seal.quiet and not self.faults.any(request.sent, accepted):
                raise Violation("it reached the origin after a drain said that all is quiet", request)
            if app.ordered and accepted > seal.start + 0.5 and not self.faults.stopped(request.sent, accepted):
                raise Violation("it was not in flight, and reached the origin while its app was paused", request)

    def in_order(self, request):
        """It is this request's turn at the origin, by the order in which nginx connected."""
        app = request.app
        if not app.ordered or request.bypass:
            return
        if request.rank < app.reached:
            if self.faults.stopped(request.sent, time.monotonic()):
                self.counts["passed over while its worker was stopped"] += 1
                return
            raise Violation(f"it was overtaken: rank {app.reached} of its app was before it ({app.reached_by.id})", request)
        if request.rank > app.reached:
            app.reached, app.reached_by = request.rank, request
        self.counts["seen in order"] += 1

    # At the client

    def answered(self, request, status, body):
        request.note(f"answered {status}")
        request.status = status
        now = time.monotonic()
        reached = self.arrivals[request.id]
        if status == 503 and request.app.in_maintenance(request.sent):
            self.expect(reached == 0, "it was refused and reached the origin", request)
            self.counts["refused in maintenance"] += 1
        elif status == 504 and request.app.refuses_late:
            self.expect(reached == 0, "it was refused and reached the origin", request)
            self.expect(now - request.sent > request.app.max_time - 0.1, "it was refused too early", request)
            self.counts["refused when its time was up"] += 1
        elif status == 502 and request.app.lost_its_origin(request):
            self.counts["lost with the origin"] += 1
        else:
            self.expect(reached == 1, f"answered {status}, and the origin has not seen it", request)
            self.expect(status == request.origin_status, f"the origin said {request.origin_status}, the client got {status}", request)
            self.expect(status != 200 or body == expected(request), f"the answer is another one's: {body!r}", request)
            self.counts["answered"] += 1
        self.end(request)

    def cut(self, request, excuse=""):
        """The connection ended without an answer."""
        request.note(f"cut {excuse}")
        now = time.monotonic()
        if request.aborted:
            return
        if self.faults.killed(request.sent, now):
            self.counts["cut with a killed worker"] += 1
        elif excuse and not self.arrivals[request.id]:
            self.counts[excuse] += 1
        elif request.reused and not request.held and not self.arrivals[request.id] and self.faults.reloaded(request.sent, now):
            self.counts["sent over a connection that was being closed by a reload"] += 1
        elif self.was_not_accepted(request, now):
            self.counts["not accepted, as a reload closed a worker's own listening socket"] += 1
        else:
            raise Violation("its connection ended without an answer", request)
        self.end(request)

    def was_not_accepted(self, request, now):
        """nginx resets what waits at a reuseport socket that goes, which it does when workers become fewer."""
        over_own_socket = getattr(request.channel, "name", "") == "shared" and not request.reused
        return over_own_socket and not request.held and not self.arrivals[request.id] and self.faults.reloaded(request.sent, now)

    def aborted(self, request, doomed):
        request.note("aborted" + (" while held" if doomed else ""))
        request.aborted = True
        self.expect(not (doomed and self.arrivals[request.id]), "it was held and had reached the origin", request)
        request.doomed = doomed
        self.counts["aborted while held" if doomed else "aborted at any time"] += 1
        self.end(request)

    def end(self, request):
        if self.open.pop(request.id, None) is None:
            return
        request.app.outstanding.discard(request)
        request.app.changed += 1
        self.recent[request.id] = request
        if len(self.recent) > KEPT:
            self.recent.popitem(last=False)
        if not request.ends.done():
            request.ends.set_result(request.status)

    @staticmethod
    def expect(condition, what, request):
        if not condition:
            raise Violation(what, request)


def expected(request):
    return b"%d %d\n" % (request.id, len(request.body))


class Seal:
    """A stretch of time in which nothing of an app may reach the origin."""

    def __init__(self, start, end=float("inf"), quiet=False):
        self.start = start
        self.end = end
        self.quiet = quiet


class App:
    """An app, as its clients know it."""

    def __init__(self, name, ordered=False, max_time=None, refuses_late=False):
        self.name = name
        self.ordered = ordered
        self.max_time = max_time
        self.refuses_late = refuses_late
        self.outstanding = set()
        self.changed = 0
        # Requests of a lower rank were known to be held before those of a higher one were sent.
        self.rank = 0
        self.reached = 0
        self.reached_by = None
        self.seals = collections.deque(maxlen=8)
        self.refusals = collections.deque(maxlen=8)
        # When its origin was lost, with all that had been sent there.
        self.crashes = collections.deque(maxlen=8)

    def seal(self, **more):
        self.seals.append(Seal(time.monotonic(), **more))

    def unseal(self):
        for seal in self.seals:
            seal.end = min(seal.end, time.monotonic())

    def lost_its_origin(self, request):
        """Whoever is known to be held was not sent there."""
        return not request.held and any(at >= request.sent for at in self.crashes)

    def in_maintenance(self, sent):
        return any(stretch.end > sent for stretch in self.refusals)


class Faults:
    """When what was done to the workers."""

    def __init__(self):
        self.kills = collections.deque(maxlen=100)
        self.reloads = collections.deque(maxlen=100)
        self.stops = collections.deque(maxlen=100)

    def killed(self, since, until):
        return any(start <= until and end + 0.3 >= since for start, end in self.kills)

    def reloaded(self, since, until):
        return any(since - 5 <= at <= until for at in self.reloads)

    def stopped(self, since, until):
        return any(start <= until and end + 1 >= since for start, end in self.stops)

    def any(self, since, until):
        return self.killed(since - 2, until) or self.stopped(since, until)
