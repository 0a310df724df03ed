"""What clients ask for, whatever protocol they speak."""

import urllib.parse

from .places import HARMLESS

METHODS = ("GET", "GET", "GET", "GET", "HEAD", "POST", "POST", "PUT", "OPTIONS")
FIELDS = (
    ("User-Agent", "healthy"), ("Content-Type", "application/grpc"), ("Range", "bytes=10-2500"), ("Cookie", "a=b; c=d"),
    ("Accept-Encoding", "gzip"), ("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT"), ("X-Forwarded-For", "192.0.2.1"),
    ("Pragma", "no-cache"), ("X-Long", "y" * 3000),
)


class Asker:
    """Somebody who sends requests, of which those of the round's plan."""

    def __init__(self, world, name):
        self.world = world
        self.chance = world.dice(name)

    def ask(self, length=None, place=None, method=None, chunked=False):
        place = place or self.chance.choice([place for place in self.world.plan.places if chunked or not place.only_chunks] or [HARMLESS])
        if length is None:
            length = self.length()
        method = method or self.chance.choice(place.methods or (METHODS if length == 0 else ("POST", "POST", "PUT", "GET")))
        path = place.path.format(name=self.name()) + self.chance.choice(("", "", "x", "a/b", "c%2Fd"))
        query = [f"how={'.'.join(self.ways(place))}", f"k={self.name() if place.named else self.chance.randrange(5)}"]
        if self.chance.random() < 0.03:
            query.append("bypass=1")
        if place.path == "/up":
            path = place.path
        self.world.ledger.counts["requests: sent"] += 1
        return self.world.ledger.begin(place, method, f"{path}?id={{id}}&{'&'.join(query)}", length)

    def name(self):
        number = self.chance.randrange(self.world.plan.names)
        return f"app{number}" + ("x" * 250 if number == 13 else "") + urllib.parse.quote(" \"\\" if number == 17 else "")

    def length(self):
        kind = self.chance.random()
        if kind < 0.5:
            return 0
        if kind < 0.6:
            return self.chance.randint(1, 300)
        if kind < 0.95:
            return 64 * self.chance.randint(1, 60)
        return self.chance.randint(10_000, 150_000)

    def ways(self, place):
        """How the origin shall answer at the first visits; later ones are its own choice."""
        ways = []
        if place.ways and self.chance.random() < 0.7:
            ways.append(self.chance.choice(place.ways))
        if self.chance.random() < 0.3:
            ways.append(self.chance.choice(self.world.plan.ways))
        return ways

    def fields(self, sent):
        """Its headers, the first and the last of which say whose they are."""
        more = [self.chance.choice(FIELDS)] if self.chance.random() < 0.15 else []
        if sent.place.path == "/dav/" and sent.method in ("COPY", "MOVE"):
            more.append(("Destination", f"http://chaos/dav/{self.chance.randrange(20)}"))
        return [("X-First", f"{sent.id:08}"), *more, ("X-Last", f"{sent.id:08}")]

    def pause(self):
        return self.chance.choice((0, 0, 0.005, 0.05, 0.3))

    def patience(self):
        return self.chance.choice((0.01, 0.05, 0.2, 0.5, 1.5, 3))
