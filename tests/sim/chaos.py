"""A random schedule of work and misfortune, made by a seed alone."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from pinfleet_operator.api.settings import Settings
from tests.sim.history import history_of
from tests.sim.invariants import broken
from tests.sim.kubelet import any_live
from tests.sim.net import Odds
from tests.sim.operator import SimOperator
from tests.sim.world import World, cluster

QUIET_SECONDS = 60.0
HEAL_SECONDS = 1_500.0


class Chaos:
    """One schedule in one world."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.rng = world, random.Random(f"chaos {seed}")
        self.story: list[str] = []
        self._runs = 0
        self._version = 1
        self._is_rough = True
        self._later: list[asyncio.Task[None]] = []
        self._most_versions = self.rng.choice((1, 2, 3))
        self._deeds: list[tuple[int, str, Callable[[], Any]]] = [
            (30, "start", self._start),
            (7, "cancel", self._cancel),
            (3, "delete", self._delete),
            (7, "deploy", self._deploy),
            (6, "pod crash", lambda: self._on_pod(self.world.kubelet.crash)),
            (4, "pod evicted", lambda: self._on_pod(self.world.kubelet.evict)),
            (3, "pod vanished", lambda: self._on_pod(self.world.kubelet.vanish)),
            (4, "pod cut", self._cut_pod),
            (4, "node lost", self._lose_node),
            (2, "container restarted", lambda: self._on_pod(self.world.kubelet.restart_in_place)),
            (4, "pod clock", self._pod_clock),
            (6, "operator crash", self._crash),
            (4, "operator asleep", self._fail_over),
            (3, "operator cut", self._cut_operator),
        ]

    async def run(self) -> list[str]:
        """Live through the schedule; returns what is broken at its end."""
        rng, world = self.rng, self.world
        world.kubelet.plan_of = lambda _pod: {
            "park_after_seconds": 3.0,
            "cancel_grace_seconds": 5.0,
            "journal_seconds": rng.choice((0.0, 0.01, 0.3)),
            "clock_ahead_seconds": rng.choice((0.0, 0.0, -5.0, 5.0)),
        }
        world.kubelet.node_controller_seconds = rng.choice((5.0, 40.0))
        self.shape: dict[str, Any] = {"replicas": rng.randint(1, 3), "runsPerPod": rng.randint(1, 4)}
        world.deploy("v1", **self.shape)
        world.add_operator(leads=True)
        world.add_operator()
        self._odds()
        supervisor = asyncio.create_task(self._supervise())
        for _ in range(rng.choice((10, 25, 40, 80))):
            await asyncio.sleep(rng.expovariate(1 / 3.0))
            await self._deed()
        found = await self._settle()
        supervisor.cancel()
        return found

    async def _supervise(self) -> None:
        """Start a leader anew that ended by itself."""
        while True:
            await asyncio.sleep(1.0 if self._is_rough else 5.0)
            for each in self.world.operators:  # a term that is over shows within the renew deadline
                if each.is_awake and each.identity != self.world.lease.holder and self.rng.random() < 0.3:
                    each.leader.lose()
            if not self.world.operator.is_running and self.world.operator.error is not None:
                self._succeed()

    async def _deed(self) -> None:
        total = sum(weight for weight, _, _ in self._deeds)
        draw = self.rng.random() * total
        for weight, name, do in self._deeds:
            draw -= weight
            if draw < 0:
                self.story.append(f"{self.world.now():.2f} {name}")
                done = do()
                if asyncio.iscoroutine(done):
                    await done
                return

    # A user

    def _start(self) -> None:
        rng = self.rng
        self._runs += 1
        ask: dict[str, Any] = {
            "steps": rng.randint(1, 5),
            "seconds": rng.choice((0.05, 0.5, 2.0, 6.0, 25.0)),
            "secret": "hush",
        }
        kind = rng.random()
        if kind < 0.35:
            ask |= {"sleep_after": 1, "sleep_seconds": rng.choice((1.0, 4.0, 20.0, 45.0))}
        elif kind < 0.42:
            ask["fail_at"] = ask["steps"]
        elif kind < 0.52:
            ask |= {"die_at": 2, "die_epochs": rng.choice((1, 1, 100))}
        elif kind < 0.6:
            ask |= {"deaf": True, "seconds": 20.0}
        limits = {"activeSeconds": rng.choice((5, 20))} if rng.random() < 0.1 else None
        self.world.start(f"run-{self._runs}", limits=limits, **ask)

    def _pick(self) -> str | None:
        names = self.world.open_runs()
        return self.rng.choice(names) if names else None

    def _cancel(self) -> None:
        name = self._pick()
        if name is not None:
            self.story.append(f"  {name}")
            self.world.cancel(name)

    def _delete(self) -> None:
        name = self._pick()
        if name is not None:
            self.story.append(f"  {name}")
            self.world.delete_run(name)

    def _deploy(self) -> None:
        if self._version < self._most_versions:
            self._version += 1
            self.world.deploy(f"v{self._version}", **self.shape)

    # Pods

    def _on_pod(self, do: Callable[[str], None]) -> None:
        uid = any_live(self.rng, self.world.kubelet)
        if uid is not None:
            self.story.append(f"  {uid}")
            do(uid)

    def _cut_pod(self) -> None:
        def cut(uid: str) -> None:
            self.world.kubelet.cut(uid)
            self._after(self.rng.choice((2.0, 10.0, 60.0)), lambda: self.world.kubelet.cut(uid, is_cut=False))

        self._on_pod(cut)

    def _lose_node(self) -> None:
        def lose(uid: str) -> None:
            self.world.kubelet.lose_node(uid)
            self._after(self.rng.choice((20.0, 100.0, 500.0)), lambda: self.world.kubelet.find_node(uid))

        self._on_pod(lose)

    def _pod_clock(self) -> None:
        def jump(uid: str) -> None:
            self.world.kubelet.processes[uid].clock_ahead_seconds = self.rng.choice((-5.0, 5.0))

        self._on_pod(jump)

    # Operators

    async def _crash(self) -> None:
        old = self.world.operator
        await old.crash()
        await asyncio.sleep(self.rng.random() * 3)
        self._succeed()

    def _fail_over(self) -> None:
        old = self.world.operator
        if not old.is_running:
            return
        old.sleep()
        self._after(self.rng.uniform(0.0, 3.0), self._succeed)

        async def wake() -> None:
            await asyncio.sleep(self.rng.uniform(3.0, 20.0))
            old.wake()
            await asyncio.sleep(self.rng.uniform(0.0, 2.0))
            if self.world.lease.holder != old.identity:
                old.leader.lose()

        self._later.append(asyncio.create_task(wake()))

    def _succeed(self) -> None:
        standby = [each for each in self.world.operators if each.is_running and not each.leader.acquired.is_set()]
        if standby:
            standby[0].leader.take()
        else:
            self.world.add_operator(leads=True)
        self.world.add_operator()
        self._odds()

    def _cut_operator(self) -> None:
        leader = self.world.operator
        net = self.rng.choice((leader.api_net, leader.pod_net))
        net.is_cut = True

        def mend() -> None:
            net.is_cut = False

        self._after(self.rng.choice((2.0, 8.0, 40.0)), mend)

    def _odds(self) -> None:
        odds = random.Random(f"odds {self.world.seed}")
        rate, lag = odds.choice((0.0, 0.02, 0.1, 0.2)), odds.choice((0.0, 0.0, 0.3, 2.0))
        for each in self.world.operators:
            each.api_net.odds = Odds(rate, rate, 0.0, rate)
            each.pod_net.odds = Odds(rate, rate, rate, rate)
            each.api_net.watch_lag_seconds = lag
            each.api_net.jitter_seconds = each.pod_net.jitter_seconds = 0.02

    def _after(self, seconds: float, do: Callable[[], object]) -> None:
        async def later() -> None:
            await asyncio.sleep(seconds)
            do()

        self._later.append(asyncio.create_task(later()))

    # The end

    async def _settle(self) -> list[str]:
        world = self.world
        await asyncio.gather(*self._later)
        self._is_rough = False
        for each in world.operators:
            each.wake()
            for net in (each.api_net, each.pod_net):
                net.is_cut, net.odds, net.watch_lag_seconds = False, Odds(), 0.0
        for uid in list(world.kubelet.processes):
            world.kubelet.find_node(uid)
        if not world.operator.is_running:
            self._succeed()
            self._calm(world.operators)
        for each in world.operators:
            if each.identity != world.lease.holder:
                each.leader.lose()
        await world.all_ended(HEAL_SECONDS)
        await asyncio.sleep(400.0)
        before = sum(len(each.kube.writes) for each in world.operators)
        await asyncio.sleep(QUIET_SECONDS)
        found = broken(history_of(world))
        after = [write for each in world.operators for write in each.kube.writes]
        if len(after) > before:
            found.append(
                f"INV-8: written once stable: {sorted(after, key=lambda write: write.at)[before - len(after) :]}"
            )
        errors = [f"{each.identity} died: {each.error!r}" for each in world.operators if not each.ended_well]
        return found + errors + self._left_over()

    def _calm(self, operators: list[SimOperator]) -> None:
        for each in operators:
            each.api_net.odds = each.pod_net.odds = Odds()
            each.api_net.watch_lag_seconds = 0.0

    def _left_over(self) -> list[str]:
        """What pods still hold: nothing may go on for a run that is over."""
        pods = self.world.kubelet.processes.values()
        return [
            f"pod {pod.plan.uid} still lists {[each.uid for each in pod.machine.state(0, '').runs]}"
            for pod in pods
            if pod.is_alive and pod.machine.state(0, "").runs
        ]


def settings_of(seed: int, *rules_off: str) -> Settings:
    """The operator's settings of a seed: some are shortened, so that what takes minutes happens within a schedule."""
    rng = random.Random(f"settings {seed}")
    return Settings(
        node_lost_seconds=rng.choice((10, 300)),
        unreachable_seconds=rng.choice((26, 30)),
        run_workers=rng.choice((1, 16)),
        rules_off=frozenset(rules_off),
    )


async def live_through(seed: int, *rules_off: str, **options: Any) -> tuple[list[str], list[str]]:
    """What is broken after the seed's schedule, and the schedule."""
    settings = settings_of(seed, *rules_off)
    async with cluster(seed=seed, leads=False, settings=settings, **options) as world:
        chaos = Chaos(world, seed)
        return await chaos.run(), chaos.story
