"""A random schedule of work and misfortune, made by a seed alone, and what must hold at its end."""

import asyncio
import random
from dataclasses import replace
from typing import Any

from pinfleet_operator.api.settings import Settings
from tests.sim import ends
from tests.sim.deeds import Deeds, leads_by_itself
from tests.sim.history import history_of
from tests.sim.invariants import broken
from tests.sim.near import Near
from tests.sim.profiles import profile_of
from tests.sim.world import World, cluster

SPOILT = 0.3  # odds that there are objects which nobody can serve
GRACE_SECONDS = 5  # of code that was told to end
WARM = 0.8  # odds that the first version is active before anything happens
LENGTHS = (5, 8, 14, 25)  # deeds of a schedule


class Chaos:
    """One schedule in one world."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.profile = world, profile_of(seed)
        self.rng = random.Random(f"chaos {seed}")
        self.fate = random.Random(f"fate {seed}")  # of elections and pods: how often they draw depends on the code
        self.deeds = Deeds(world, self.rng, self.profile)
        self.near = Near(world, seed, self.profile.near, self.deeds)
        self._is_over = False

    async def run(self) -> list[str]:
        """Live through the schedule; returns what is broken at its end."""
        rng, world = self.rng, self.world
        world.kubelet.plan_of = lambda _pod: {
            "park_after_seconds": 3.0,
            "cancel_grace_seconds": float(GRACE_SECONDS),
            "tick_seconds": 1.0,
            "journal_seconds": self.fate.choice((0.0, 0.01, 0.3)),
            "clock_ahead_seconds": self.fate.choice((0.0, 0.0, -30.0, -5.0, 5.0)),
        }
        world.kubelet.start_seconds = rng.choice((0.3, 2.0))
        world.kubelet.reuses_ips = rng.choice((0.0, 0.9))
        world.kubelet.node_controller_seconds = rng.choice((5.0, 40.0))
        self.deeds.apply()
        if self.profile.is_rough and rng.random() < SPOILT:
            world.spoil()
        world.add_operator(leads=True)
        world.add_operator()
        if rng.random() < WARM:
            await world.until(lambda: world.fleet().get("activeVersion"))
        self.deeds.set_odds()
        supervisor = asyncio.create_task(self._supervise())
        for _ in range(round(rng.choice(LENGTHS) * self.profile.lengths)):
            await asyncio.sleep(rng.expovariate(1 / self.profile.pace_seconds))
            await self.deeds.do_one()
        found = await self._settle()
        supervisor.cancel()
        return found

    async def _supervise(self) -> None:
        """What elections and Kubernetes do: who has lost the lease learns it, and a leader that ended is replaced."""
        world = self.world
        while True:
            await asyncio.sleep(5.0 if self._is_over else 1.0)
            for each in world.operators:
                if leads_by_itself(each, world.lease.holder) and self.fate.random() < 0.3:
                    each.leader.lose()
                if each.sees_restored_lease or each.has_lost_its_lease:
                    await each.crash()
            if not world.operator.is_running and (world.operator.error or world.operator.sees_restored_lease):
                self.deeds.succeed()

    async def _settle(self) -> list[str]:
        world, deeds = self.world, self.deeds
        while left := [each for each in deeds.later if not each.done()]:
            await asyncio.wait(left)
        self._is_over = self.near.is_over = True
        deeds.mend()
        if not world.operator.is_running:
            deeds.succeed()
            deeds.mend()
        deeds.retire_former()
        found = await ends.ask(world)
        found += broken(history_of(world, has_faults=self.profile.is_rough))
        return found + await ends.goodbye(world)


def settings_of(seed: int, *rules_off: str) -> Settings:
    """The operator's settings of a seed: some are shortened, so that what takes minutes happens within a schedule."""
    rng = random.Random(f"settings {seed}")
    settings = Settings(
        node_lost_seconds=rng.choice((10, 300)),
        cancel_grace_seconds=GRACE_SECONDS,
        unreachable_seconds=rng.choice((26, 30)),
        run_workers=rng.choice((1, 16)),
        empty_seconds=rng.choice((5, 60)),
        rules_off=frozenset(rules_off),
    )
    return replace(settings, **profile_of(seed).settings)


async def live_through(
    seed: int, *rules_off: str, has_preconditions: bool = True, **options: Any
) -> tuple[list[str], list[str]]:
    """What is broken after the seed's schedule, and the schedule."""
    settings = settings_of(seed, *rules_off)
    async with cluster(seed=seed, leads=False, settings=settings, **options) as world:
        if not has_preconditions:
            world.server.has_preconditions, world.server.checks = False, []
        chaos = Chaos(world, seed)
        return await chaos.run(), chaos.deeds.story
