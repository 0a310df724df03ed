"""What a round is made of: some of all there is, and never all at once, as one thing hides another."""

import dataclasses
import random
import re

from .http1 import MANNERS
from .http2 import ACTS
from .calls import CALLS
from .origin import WAYS
from .places import PLACES

SETTINGS = {
    "WORKERS": ("1", "2", "3", "4"),
    "CONNECTIONS": ("1024", "1024", "1024", "192"),
    "SHUTDOWN_TIMEOUT": ("0", "1s"),
    "ACCEPT_MUTEX": ("on", "off", "off"),
    "MULTI_ACCEPT": ("on", "off"),
    "BODY_BUFFER": ("1k", "8k", "64k"),
    "BODY_TIMEOUT": ("300ms", "1s", "2s"),
    "LINGERING": ("on", "always", "off"),
    "RESET_TIMEDOUT": ("on", "off"),
    "IGNORE_ABORT": ("on", "off", "off"),
    "READ_BODY": ("release", "held"),
    "AUTO": ("on", "on", "off"),
    "REPLAY": ("none", "get"),
}


@dataclasses.dataclass
class Plan:
    number: int
    places: list
    ways: list
    manners: list
    acts: list
    calls: list
    harm: list
    # How many different names of apps there are.
    names: int
    settings: dict

    def __str__(self):
        return "\n".join(
            f"    {field.name}: {show(getattr(self, field.name))}" for field in dataclasses.fields(self) if field.name != "number"
        )


def show(value):
    if isinstance(value, dict):
        return ", ".join(f"{name.lower()}={setting}" for name, setting in value.items())
    return " ".join(str(part) for part in value) if isinstance(value, list) else str(value)


def draw(seed, number, only):
    """The plan of a round; `only` is an expression for the places."""
    chance = random.Random(f"{seed} {number}")
    places = [place for place in PLACES if re.search(only, place.path)]
    return Plan(
        number=number,
        places=some(chance, places, 0.4),
        ways=["ok", *some(chance, [way for way in WAYS if way != "ok"], 0.5)],
        manners=some(chance, MANNERS, 0.6),
        acts=some(chance, ACTS, 0.7),
        calls=some(chance, CALLS, 0.7),
        harm=some(chance, ["reload", "kill", "stop"], 0.4, least=0),
        names=chance.choice((1, 4, 20, 500, 100_000)),
        settings=settings(chance),
    )


def some(chance, things, share, least=1):
    chosen = [thing for thing in things if chance.random() < share]
    return chosen if len(chosen) >= least else chance.sample(list(things), least)


def settings(chance):
    return {name: chance.choice(choices) for name, choices in SETTINGS.items()}
