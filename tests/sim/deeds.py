"""What users, nodes, networks and fate do in a random schedule; each deed is drawn by the seed alone."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from tests.sim.kubelet import any_live
from tests.sim.net import Odds, no_script
from tests.sim.operator import SimOperator
from tests.sim.profiles import USUAL, Profile, draw
from tests.sim.runs import ROUGH, ask
from tests.sim.world import World

OUTLIVES = 0.5
OF_USERS = {"start", "burst", "cancel", "delete", "send", "deploy", "revert", "pause", "edit"}


class Deeds:
    """All that may happen in one world."""

    def __init__(self, world: World, rng: random.Random, profile: Profile) -> None:
        self.world, self.rng, self.profile = world, rng, profile
        self.story: list[str] = []
        self.later: list[asyncio.Task[None]] = []  # what was begun and ends by itself
        self.shape: dict[str, Any] = {"replicas": rng.randint(1, 3), "runsPerPod": rng.randint(1, 4)} | profile.shape
        self._may_restore = profile is not USUAL or rng.random() < 0.3
        self._runs, self._newest = 0, 1
        self._most_versions = rng.randint(profile.most_versions // 3, profile.most_versions)
        kubelet = world.kubelet
        self._do: dict[str, Callable[[], Any]] = {
            "start": self.start,
            "burst": self.burst,
            "cancel": lambda: self._pick(world.cancel),
            "delete": lambda: self._pick(world.delete_run),
            "send": lambda: self._pick(lambda name: world.send(name, 1)),
            "edit": lambda: self._pick(world.annotate),
            "deploy": self.deploy,
            "revert": self.revert,
            "pause": self.pause,
            "pod crash": lambda: self.on_pod(kubelet.crash),
            "pod evicted": lambda: self.on_pod(kubelet.evict),
            "pod vanished": lambda: self.on_pod(kubelet.vanish),
            "pod cut": self.cut_pod,
            "node lost": self.lose_node,
            "node burnt": self.burn_node,
            "container restarted": lambda: self.on_pod(kubelet.restart_in_place),
            "pod clock": self.pod_clock,
            "operator crash": self.crash,
            "operator asleep": self.fail_over,
            "operator cut": self.cut_operator,
            "fleet watch hangs": self.hang_fleet_watch,
            "etcd restored": self.restore,
        }
        weights = profile.deeds if profile.only else USUAL.deeds | profile.deeds
        self._weights = {name: weight for name, weight in weights.items() if profile.is_rough or name in OF_USERS}
        kinds = profile.runs or USUAL.runs
        self._kinds = {name: weight for name, weight in kinds.items() if profile.is_rough or name not in ROUGH}

    async def do_one(self) -> None:
        """Do what is drawn."""
        name = draw(self.rng, self._weights)
        self.story.append(f"{self.world.now():.2f} {name}")
        done = self._do[name]()
        if asyncio.iscoroutine(done):
            await done

    def apply(self, **changes: Any) -> None:
        """Apply the fleet."""
        self.shape |= changes
        self.world.deploy(f"v{self.shape.get('number', 1)}", **{k: v for k, v in self.shape.items() if k != "number"})

    # A user

    def start(self, kind: str | None = None) -> None:
        """Create a run of some kind."""
        rng = self.rng
        self._runs += 1
        limits = {"activeSeconds": rng.choice((5, 20))} if rng.random() < 0.1 else None
        version = f"v{self._newest}" if rng.random() < 0.05 else None
        name = f"run-{self._runs}"
        self.world.start(name, limits=limits, version=version, **ask(kind or draw(rng, self._kinds), rng))
        if rng.random() < 0.1:  # rule 16: its echo comes after the echo of its creation
            asyncio.get_running_loop().call_later(rng.random(), self._edit, name)

    def burst(self, kind: str | None = None) -> None:
        """Create several runs at once: pods are made for them, and soon too many."""
        for _ in range(4):
            self.start(kind)

    def _edit(self, name: str) -> None:
        if name in self.world.open_runs():
            self.world.annotate(name)

    def _pick(self, do: Callable[[str], None]) -> None:
        names = self.world.open_runs()
        if names:
            name = self.rng.choice(names)
            self.story.append(f"  {name}")
            do(name)

    def deploy(self) -> None:
        """Apply a new version, or an earlier one again where there are enough."""
        if self._newest < self._most_versions:
            self._newest += 1
            self.apply(number=self._newest)
        else:
            self.revert()

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
            if self.rng.random() < 0.3:  # rules 8 and 10: it is to end a run, and goes if it stays silent
                self._cancel_on(uid)
            self._after(self.rng.choice((2.0, 14.0, 60.0)), lambda: self.world.kubelet.cut(uid, is_cut=False))

        self.on_pod(cut)

    def _cancel_on(self, uid: str) -> None:
        for name in self.world.open_runs():
            if self.world.run(name).get("podUID") == uid:
                self.world.cancel(name)
                return

    def lose_node(self) -> None:
        """Nobody reaches a pod, nor hears of it."""
        self._lose(self.world.kubelet.lose_node)

    def burn_node(self) -> None:
        """Nobody hears of it that a pod's process is gone."""
        self._lose(self.world.kubelet.burn_node)

    def _lose(self, do: Callable[[str], None]) -> None:
        def lose(uid: str) -> None:
            do(uid)
            self._after(self.rng.choice((20.0, 60.0, 400.0)), lambda: self.world.kubelet.find_node(uid))

        self.on_pod(lose)

    def pod_clock(self) -> None:
        """A pod's clock jumps."""

        def jump(uid: str) -> None:
            self.world.kubelet.processes[uid].clock_ahead_seconds = self.rng.choice((-30.0, -5.0, 5.0))

        self.on_pod(jump)

    # Operators and the API server

    async def crash(self) -> None:
        """The leader dies, another leads."""
        await self.world.operator.crash()
        await asyncio.sleep(self.rng.random() * 3)
        self.succeed()

    def fail_over(self) -> None:
        """The leader is stopped, another leads, the first wakes; rule 8: what it has decided to remove is in use."""
        if self.rng.random() < 0.5:
            self.burst("quick")
            self._after(self.rng.uniform(3.0, 9.0), self._sleep)
        else:
            self._sleep()

    def _sleep(self) -> None:
        old = self.world.operator
        if not old.is_running:
            return
        old.sleep()
        self._after(self.rng.uniform(0.0, 3.0), self.succeed)
        self._after(self.rng.uniform(1.0, 5.0), lambda: self.burst("slow"))

        async def wake() -> None:
            await asyncio.sleep(self.rng.uniform(3.0, 20.0))
            old.wake()
            await asyncio.sleep(self.rng.uniform(0.0, 2.0))
            if self.world.lease.holder != old.identity:
                old.leader.lose()

        self.later.append(asyncio.create_task(wake()))

    def _nod(self, verb: str, _name: str) -> None:
        """Rule 8: the leader is stopped between a decision about a pod and its write."""
        if verb in {"patch pods", "delete pods"} and self.rng.random() < self.profile.nods:
            self._sleep()

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
        if not self._may_restore:
            return
        if self.world.restore(seconds):
            self.story.append(f"  by {seconds:.1f} s")

    def set_odds(self) -> None:
        """How the networks of all operators fare."""
        odds = random.Random(f"odds {self.world.seed}")
        rate, lag = odds.choice(self.profile.rates), odds.choice((0.0, 0.0, 0.3, 2.0))
        for each in self.world.operators if self.profile.is_rough else ():
            each.api_net.odds = Odds(rate, rate, 0.0, rate)
            each.pod_net.odds = Odds(rate, rate, rate, rate)
            each.api_net.hot = each.pod_net.hot = self.profile.hot
            each.api_net.watch_lag_seconds = lag
            each.api_net.script = self._nod
            each.api_net.jitter_seconds = each.pod_net.jitter_seconds = 0.02
            each.api_net.outlives = each.pod_net.outlives = OUTLIVES

    def mend(self) -> None:
        """Whatever was broken works again, but a watch that hangs; what is on its way arrives, and is sent."""
        world = self.world
        for each in world.operators:
            each.wake()
            for net in (each.api_net, each.pod_net):
                net.is_cut, net.odds, net.watch_lag_seconds, net.outlives, net.hot = False, Odds(), 0.0, 0.0, {}
                net.script = no_script
        for uid in list(world.kubelet.processes):
            world.kubelet.find_node(uid)
        for name in world.open_runs():
            while world.lacks_message(name):
                world.send(name, 1)
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
