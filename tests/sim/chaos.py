"""A random schedule of work and misfortune, made by a seed alone, and what must hold at its end."""

import asyncio
import random
from dataclasses import replace
from typing import Any

from pinfleet_operator.api.settings import Settings
from tests.sim.deeds import Deeds, leads_by_itself
from tests.sim.history import history_of
from tests.sim.invariants import broken
from tests.sim.near import Near
from tests.sim.profiles import profile_of
from tests.sim.world import FLEET, NAMESPACE, World, cluster

QUIET_SECONDS, RESTLESS = 60.0, 10  # without a write for so long it is at rest; at the latest in the tenth such time
HEAL_SECONDS = 1_500.0
MOST_CHANGES = 2_000  # until all is well again; some dozens are usual
OBEY_SECONDS = 200.0
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
            "cancel_grace_seconds": 5.0,
            "journal_seconds": self.fate.choice((0.0, 0.01, 0.3)),
            "clock_ahead_seconds": self.fate.choice((0.0, 0.0, -30.0, -5.0, 5.0)),
        }
        world.kubelet.start_seconds = rng.choice((0.3, 2.0))
        world.kubelet.reuses_ips = rng.choice((0.0, 0.9))
        world.kubelet.node_controller_seconds = rng.choice((5.0, 40.0))
        self.deeds.apply()
        world.add_operator(leads=True)
        world.add_operator()
        if rng.random() < WARM:
            await world.until(lambda: world.fleet().get("activeVersion"))
        self.deeds.set_odds()
        supervisor = asyncio.create_task(self._supervise())
        for _ in range(rng.choice(LENGTHS) * self.profile.lengths):
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
                if each.sees_restored_lease:
                    await each.crash()
            if not world.operator.is_running and (world.operator.error or world.operator.sees_restored_lease):
                self.deeds.succeed()

    # The end

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
        found = await self._obey()
        await self._heal()
        found += await self._come_to_rest()
        found += broken(history_of(world, has_faults=self.profile.is_rough)) + self._as_asked()
        found += [f"{each.identity} died: {each.error!r}" for each in world.operators if not each.ended_well]
        return found + self._left_over() + await self._goodbye()

    async def _obey(self) -> list[str]:
        """Rule 10: whoever was told to end, ends, whatever his code does."""
        until = self.world.now() + OBEY_SECONDS
        while self._disobedient() and self.world.now() < until:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(1.0)
        return [f"cancel: run {name} goes on" for name in self._disobedient()]

    async def _heal(self) -> None:
        """Wait until every run has ended, but not through all of a hot loop's writes."""
        world, written = self.world, self.world.server.resource_version
        until = world.now() + HEAL_SECONDS
        while world.open_runs() and world.now() < until:
            await asyncio.sleep(1.0)
            if world.server.resource_version > written + MOST_CHANGES:
                return

    def _disobedient(self) -> list[str]:
        read = self.world.server.read
        return [name for name in self.world.open_runs() if read("agentruns", NAMESPACE, name)["spec"].get("cancel")]

    async def _come_to_rest(self) -> list[str]:
        """INV-8: in the end nothing is written any more."""
        last: list[str] = []
        for _ in range(RESTLESS):
            since = self.world.now()
            await asyncio.sleep(QUIET_SECONDS)
            last = [str(w) for each in self.world.operators for w in each.kube.writes if w.at >= since]
            if not last:
                return []
        return [f"INV-8: after {RESTLESS * QUIET_SECONDS:.0f} s there are still writes: {last}"]

    def _as_asked(self) -> list[str]:
        """INV-11: whatever came before, the version that the spec asks for is the active one."""
        fleet = self.world.server.objects["agentdeployments", NAMESPACE, FLEET]
        wanted, active = fleet["spec"]["version"], fleet.get("status", {}).get("activeVersion")
        return [] if wanted == active else [f"INV-11: the spec asks for {wanted}, active is {active}"]

    async def _goodbye(self) -> list[str]:
        """INV-9: a fleet that is deleted leaves no version and no pod."""
        server = self.world.server
        server.delete("agentdeployments", NAMESPACE, FLEET, None, None)
        kinds = ("agentdeployments", "agentversions", "pods")
        await self.world.until(lambda: not any(server.all(kind) for kind in kinds), 400)
        return [f"INV-9: {kind} {each['metadata']['name']} is left" for kind in kinds for each in server.all(kind)]

    def _left_over(self) -> list[str]:
        """What pods still hold: nothing may go on for a run that is over."""
        pods = self.world.kubelet.processes.values()
        return [
            f"left over: pod {pod.plan.uid} still lists {[each.uid for each in pod.machine.state(0, '').runs]}"
            for pod in pods
            if pod.is_alive and pod.machine.state(0, "").runs
        ]


def settings_of(seed: int, *rules_off: str) -> Settings:
    """The operator's settings of a seed: some are shortened, so that what takes minutes happens within a schedule."""
    rng = random.Random(f"settings {seed}")
    settings = Settings(
        node_lost_seconds=rng.choice((10, 300)),
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
