"""Reloads, kills and stops."""

import asyncio

import soak.actors

from .plan import settings

MOST_WORKERS = 10


class Vandal(soak.actors.Vandal):
    def __init__(self, world):
        self.world = world
        self.random = world.dice("vandal")

    async def run(self):
        while True:
            await asyncio.sleep(0.2 + self.random.random() * 1.5)
            if self.world.plan.harm:
                await getattr(self, self.random.choice(self.world.plan.harm))()

    async def reload(self):
        nginx = self.world.nginx
        if len(nginx.workers()) > MOST_WORKERS:
            return
        # One after the other comes into effect, on workers of which the older ones still have what they have.
        drawn = settings(self.random)
        nginx.configure(drawn)
        self.note("reloads", 0, f"reload with {drawn}")
        nginx.reload()

    def note(self, kind, what, line):
        super().note(kind, what, line)
        self.world.ledger.counts[f"done to nginx: {kind}"] += 1
