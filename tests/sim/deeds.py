"""What users, nodes, networks and fate do in a random schedule; each deed is drawn by the seed alone."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from tests.sim.kubelet import any_live
from tests.sim.net import Odds
from tests.sim.operator import SimOperator
from tests.sim.world import World

OUTLIVES = 0.5


class Deeds:
    """All that may happen in one world."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world, self.rng = world, rng
        self.story: list[str] = []
        self.later: list[asyncio.Task[None]] = []  # what was begun and ends by itself
        self.shape: dict[str, Any] = {"replicas": rng.randint(1, 3), "runsPerPod": rng.randint(1, 4)}
        self.is_rough = rng.random() > 0.1  # else only users act, and nothing fails
        self._may_restore = rng.random() < 0.2
        self._runs, self._newest = 0, 1
        self._most_versions = rng.choice((1, 2, 3))
        self.table: list[tuple[int, str, Callable[[], Any]]] = [
            (30, "start", self.start),
            (7, "cancel", self.cancel),
            (3, "delete", self.delete),
            (7, "deploy", self.deploy),
            (2, "revert", self.revert),
            (2, "pause", self.pause),
        ]
        if self.is_rough:
            self.table += self._misfortunes()

    def _misfortunes(self) -> list[tuple[int, str, Callable[[], Any]]]:
        kubelet = self.world.kubelet
        return [
            (6, "pod crash", lambda: self.on_pod(kubelet.crash)),
            (4, "pod evicted", lambda: self.on_pod(kubelet.evict)),
            (3, "pod vanished", lambda: self.on_pod(kubelet.vanish)),
            (4, "pod cut", self.cut_pod),
            (4, "node lost", self.lose_node),
            (2, "container restarted", lambda: self.on_pod(kubelet.restart_in_place)),
            (4, "pod clock", self.pod_clock),
            (6, "operator crash", self.crash),
            (4, "operator asleep", self.fail_over),
            (3, "operator cut", self.cut_operator),
            (3, "fleet watch hangs", self.hang_fleet_watch),
            (3 if self._may_restore else 0, "etcd restored", self.restore),
        ]

    async def do_one(self) -> None:
        """Do what is drawn."""
        draw = self.rng.random() * sum(weight for weight, _, _ in self.table)
        for weight, name, do in self.table:
            draw -= weight
            if draw < 0:
                self.story.append(f"{self.world.now():.2f} {name}")
                done = do()
                if asyncio.iscoroutine(done):
                    await done
                return

    def apply(self, **changes: Any) -> None:
        """Apply the fleet."""
        self.shape |= changes
        self.world.deploy(f"v{self.shape.get('number', 1)}", **{k: v for k, v in self.shape.items() if k != "number"})

    # A user

    def start(self) -> None:
        """Create a run of some kind."""
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
        elif kind < 0.52 and self.is_rough:
            ask |= {"die_at": rng.choice((1, 2)), "die_epochs": rng.choice((1, 1, 100))}
        elif kind < 0.6 and self.is_rough:
            ask |= {"deaf": True, "seconds": 20.0}
        limits = {"activeSeconds": rng.choice((5, 20))} if rng.random() < 0.1 else None
        version = f"v{self._newest}" if rng.random() < 0.05 else None
        self.world.start(f"run-{self._runs}", limits=limits, version=version, **ask)

    def _pick(self, do: Callable[[str], None]) -> None:
        names = self.world.open_runs()
        if names:
            name = self.rng.choice(names)
            self.story.append(f"  {name}")
            do(name)

    def cancel(self) -> None:
        """Cancel a run."""
        self._pick(self.world.cancel)

    def delete(self) -> None:
        """Delete a run by hand."""
        self._pick(self.world.delete_run)

    def deploy(self) -> None:
        """Apply a new version."""
        if self._newest < self._most_versions:
            self._newest += 1
            self.apply(number=self._newest)

    def revert(self) -> None:
        """Apply an earlier spec again."""
        self.apply(number=self.rng.randint(1, self._newest))

    def pause(self) -> None:
        """Pause the fleet for a while."""
        self.apply(paused=True)
        self._after(self.rng.choice((1.0, 10.0, 40.0)), lambda: self.apply(paused=False))

    # Pods

    def on_pod(self, do: Callable[[str], None]) -> None:
        """Do something to a live pod."""
        uid = any_live(self.rng, self.world.kubelet)
        if uid is not None:
            self.story.append(f"  {uid}")
            do(uid)

    def cut_pod(self) -> None:
        """Nobody but its kubelet reaches a pod for a while."""

        def cut(uid: str) -> None:
            self.world.kubelet.cut(uid)
            self._after(self.rng.choice((2.0, 10.0, 60.0)), lambda: self.world.kubelet.cut(uid, is_cut=False))

        self.on_pod(cut)

    def lose_node(self) -> None:
        """Nobody reaches a pod, nor hears of it."""

        def lose(uid: str) -> None:
            self.world.kubelet.lose_node(uid)
            self._after(self.rng.choice((20.0, 100.0, 500.0)), lambda: self.world.kubelet.find_node(uid))

        self.on_pod(lose)

    def pod_clock(self) -> None:
        """A pod's clock jumps."""

        def jump(uid: str) -> None:
            self.world.kubelet.processes[uid].clock_ahead_seconds = self.rng.choice((-5.0, 5.0))

        self.on_pod(jump)

    # Operators and the API server

    async def crash(self) -> None:
        """The leader dies, another leads."""
        await self.world.operator.crash()
        await asyncio.sleep(self.rng.random() * 3)
        self.succeed()

    def fail_over(self) -> None:
        """The leader is stopped, another leads, the first wakes."""
        old = self.world.operator
        if not old.is_running:
            return
        old.sleep()
        self._after(self.rng.uniform(0.0, 3.0), self.succeed)

        async def wake() -> None:
            await asyncio.sleep(self.rng.uniform(3.0, 20.0))
            old.wake()
            await asyncio.sleep(self.rng.uniform(0.0, 2.0))
            if self.world.lease.holder != old.identity:
                old.leader.lose()

        self.later.append(asyncio.create_task(wake()))

    def succeed(self) -> None:
        """A standby, or a new process, begins to lead."""
        standby = [each for each in self.world.operators if each.is_running and not each.leader.acquired.is_set()]
        if standby:
            standby[0].leader.take()
        else:
            self.world.add_operator(leads=True)
        self.world.add_operator()
        self.set_odds()

    def cut_operator(self) -> None:
        """The leader loses its way to the API server, or to the pods."""
        leader = self.world.operator
        net = self.rng.choice((leader.api_net, leader.pod_net))
        net.cut()
        self._after(self.rng.choice((2.0, 8.0, 40.0)), lambda: net.cut(is_cut=False))

    def hang_fleet_watch(self) -> None:
        """The watch of the fleets says nothing any more, at the next leader too."""
        self.world.hangs_fleet_watch = not self.world.hangs_fleet_watch

    def restore(self) -> None:
        """Etcd is put back to what it was a while ago."""
        seconds = self.rng.uniform(1.0, 20.0)
        if self.world.restore(seconds):
            self.story.append(f"  by {seconds:.1f} s")

    def set_odds(self) -> None:
        """How the networks of all operators fare."""
        odds = random.Random(f"odds {self.world.seed}")
        rate, lag = odds.choice((0.0, 0.02, 0.1, 0.2)), odds.choice((0.0, 0.0, 0.3, 2.0))
        for each in self.world.operators if self.is_rough else ():
            each.api_net.odds = Odds(rate, rate, 0.0, rate)
            each.pod_net.odds = Odds(rate, rate, rate, rate)
            each.api_net.watch_lag_seconds = lag
            each.api_net.jitter_seconds = each.pod_net.jitter_seconds = 0.02
            each.api_net.outlives = each.pod_net.outlives = OUTLIVES

    def mend(self) -> None:
        """Whatever was broken works again; what is on its way arrives."""
        world = self.world
        world.hangs_fleet_watch = False
        for each in world.operators:
            each.wake()
            for net in (each.api_net, each.pod_net):
                net.is_cut, net.odds, net.watch_lag_seconds, net.outlives = False, Odds(), 0.0, 0.0
        for uid in list(world.kubelet.processes):
            world.kubelet.find_node(uid)
        self.apply(paused=False)

    def retire_former(self) -> None:
        """Who does not hold the lease learns it."""
        for each in self.world.operators:
            if each.identity != self.world.lease.holder:
                each.leader.lose()

    def _after(self, seconds: float, do: Callable[[], object]) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            do()

        self.later.append(asyncio.create_task(wait()))


def leads_by_itself(operator: SimOperator, holder: str) -> bool:
    """Whether a process believes to lead that does not hold the lease any more."""
    return operator.is_awake and operator.identity != holder
