"""The places of nginx.conf, and what leads from there to elsewhere."""

import dataclasses

FAILURES = ("404", "500", "502", "503", "504", "close", "reset", "hang", "garbage")


@dataclasses.dataclass(frozen=True)
class Place:
    path: str
    # What the origin likely answers first, so that it leads on.
    ways: tuple = ()
    # Methods other than GET and POST.
    methods: tuple = ()
    # Whether many requests can have one answer.
    shared: bool = False
    # Whether the path has names that clients make up.
    named: bool = False
    # Whether it is only for what nginx itself can stand: see nginx.conf about 413.
    only_chunks: bool = False

    def __str__(self):
        return self.path


def all_places():
    plain = (
        "plain release held off straight unbuffered ignore brief strict capped sorry-file sorry-gated small "
        "limited try try-file rewrite return any mirror post "
        "upgrade files missing"
    )
    yield from (Place(f"/{name}/") for name in plain.split())
    yield from (Place(f"/{name}/", FAILURES) for name in ("error", "error-page", "error-file", "recursive", "open"))
    # Their pages come from the origin. One that answers before it has the body keeps its connection for the next request.
    yield from (Place(f"/{name}/", ("early", "early", "late")) for name in ("strict-page", "strict-named", "capped-page", "sorry"))
    yield from (Place(f"/{name}/", ("204", "204", "200", "401", "403", "500", "late", "close")) for name in ("auth", "any-auth"))
    yield from (Place(f"/{name}/", only_chunks=True) for name in ("small-page", "small-named"))
    yield Place("/accel/", ("accel",))
    yield Place("/ssi/", ("ssi",))
    yield Place("/pair/", FAILURES)
    yield from (Place(f"/{name}/", FAILURES) for name in ("away", "away-page"))
    yield Place("/cache/", ("late", "500"), shared=True)
    yield Place("/slice/", ("200", "late"), shared=True)
    yield Place("/dav/", methods=("PUT", "PUT", "DELETE", "MKCOL", "COPY", "MOVE"))
    yield Place("/name/{name}/", FAILURES, named=True)
    yield Place("/up", named=True)


PLACES = tuple(all_places())
UPGRADE = next(place for place in PLACES if place.path == "/upgrade/")
HARMLESS = next(place for place in PLACES if place.path == "/plain/")
