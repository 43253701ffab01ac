"""One operator process: the production control plane, with the lease, the network and the pods of the simulator."""

import asyncio
import dataclasses
import json
import random
from collections.abc import Callable
from typing import TypeVar

from pinfleet.wire import Accepted, EndReason, Identity, Offer, StateAnswer
from pinfleet_operator import wire
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.control_plane import ControlPlane, Ends
from pinfleet_operator.errors import NotLeader, PodUnreachable, Unavailable
from pinfleet_operator.wire import PodTarget
from tests.sim.api import Client
from tests.sim.journal import ProcessDied
from tests.sim.kubelet import SimKubelet
from tests.sim.loop import VirtualClock
from tests.sim.net import Net
from tests.sim.pod import Call
from tests.sim.record import Removed
from tests.sim.server import Server

CALL_SECONDS = 5.0
SURE_SECONDS = 120.0  # whoever was in reach for so long is known to be
A = TypeVar("A", bound=Identity)


@dataclasses.dataclass
class SimLease:
    """Who leads, and in which term."""

    holder: str = ""
    transitions: int = 0

    def elect(self, holder: str) -> None:
        """Begin a new term."""
        self.holder, self.transitions = holder, self.transitions + 1


class SimLeader:
    """One process's view of the lease.

    A process that sleeps or is cut off knows by its clock that its term is over before anybody else can have one: what
    it decided before may still go out, since a check is not a send, and nothing else. Without rule 8 it believes on.
    """

    def __init__(self, lease: SimLease, identity: str, settings: Settings) -> None:
        self._lease, self._identity, self._checks = lease, identity, settings.has_rule("8")
        self.term: int | None = None  # that this process believes to hold; None: none
        self.acquired = asyncio.Event()

    @property
    def is_leader(self) -> bool:
        """Whether this process may write, as far as it knows."""
        return self.term is not None

    @property
    def transitions(self) -> int:
        """This term's number."""
        return self.term or 0

    def take(self) -> None:
        """Begin a term."""
        self._lease.elect(self._identity)
        self.term = self._lease.transitions
        self.acquired.set()

    def lose(self) -> None:
        """Learn that somebody else leads."""
        self.term = None

    def guard(self) -> None:
        """Return if this process may write now."""
        if self.term is None or (self._checks and self._lease.holder != self._identity):
            raise NotLeader(f"cannot write: {self._identity} does not lead")

    async def raise_transitions(self, above: int) -> None:
        """Write a higher number into the lease, if it is still ours."""
        if self._lease.holder != self._identity:
            self.lose()
            raise NotLeader(f"cannot go on: {self._lease.holder} leads")
        if self._lease.transitions <= above:
            self._lease.transitions = above + 1
        self.term = self._lease.transitions


class SimPods:
    """Calls to simulated pods: implements ``wire.Pods``."""

    def __init__(self, kubelet: SimKubelet, net: Net, leader: SimLeader, settings: Settings) -> None:
        self._kubelet, self._net, self._leader, self._settings = kubelet, net, leader, settings

    async def state(self, target: PodTarget, *, after: int, boot: str, wait_seconds: int) -> StateAnswer:
        """A long poll."""
        call = Call("state", after=after, boot=boot, wait_seconds=wait_seconds)
        return await self._call(target, call, StateAnswer, timeout_seconds=wait_seconds + CALL_SECONDS)

    async def offer(self, target: PodTarget, uid: str, offer: Offer) -> Accepted:
        """Offer a run."""
        self._leader.guard()
        return await self._call(target, Call("offer", uid, offer.epoch, offer=offer), Accepted)

    async def ack(self, target: PodTarget, uid: str, epoch: int) -> Accepted:
        """Let the pod forget a run."""
        self._leader.guard()
        return await self._call(target, Call("ack", uid, epoch), Accepted)

    async def end(self, target: PodTarget, uid: str, epoch: int, reason: EndReason) -> Accepted:
        """Tell the pod to end a run."""
        self._leader.guard()
        return await self._call(target, Call("end", uid, epoch, reason=reason), Accepted)

    async def _call(self, target: PodTarget, call: Call, kind: type[A], *, timeout_seconds: float = CALL_SECONDS) -> A:
        number = self._leader.term

        async def do() -> tuple[int, bytes]:
            pod = self._kubelet.by_ip.get(target.ip)
            if pod is None or not pod.is_reachable:
                await asyncio.sleep(CALL_SECONDS)
                raise PodUnreachable(f"cannot call pod {target.pod_uid}: no answer")
            try:
                answer = await pod.answer(target.pod_uid, number, call)
            except ProcessDied:
                raise PodUnreachable(f"cannot call pod {target.pod_uid}: connection refused") from None
            if not pod.is_reachable:
                raise PodUnreachable(f"cannot call pod {target.pod_uid}: its answer was lost")
            return answer

        name = call.uid or target.pod_uid
        status, content = await self._net.carry(call.verb, name, do, timeout_seconds=timeout_seconds)
        if not self._settings.has_rule("12"):
            meant = json.loads(content)["podUID"] if content else target.pod_uid
            target = dataclasses.replace(target, pod_uid=meant)
        return wire._decode(target, status, content, kind)


class SimOperator:
    """A process: standby until it takes the lease, gone when it dies."""

    def __init__(
        self, identity: str, *, server: Server, kubelet: SimKubelet, lease: SimLease, settings: Settings, seed: int
    ) -> None:
        self.identity = identity
        rng = random.Random(f"{identity} {seed}")
        self.api_net = Net(rng, Unavailable, timeout_seconds=10.0)
        self.pod_net = Net(rng, PodUnreachable, timeout_seconds=CALL_SECONDS)
        self.leader = SimLeader(lease, identity, settings)
        self.kube = Client(server, self.api_net, may_write=self.leader.guard)
        self.kube.on_delete_pod = lambda name: self._note_removal(kubelet, name)
        pods = SimPods(kubelet, self.pod_net, self.leader, settings)
        self.plane = ControlPlane(
            Ends(kube=self.kube, pods=pods, leader=self.leader, clock=VirtualClock()), key=b"key", settings=settings
        )
        self._server, self._settings = server, settings
        self._restores = server.restores  # of etcd, before it began
        self.hangs_fleet_watch: Callable[[], bool] = lambda: False
        self._fleets_seen = server.resource_version  # up to which it has been told of fleets
        if not settings.has_rule("4"):
            self.kube.fleets_as_of = lambda: self._fleets_seen if self.hangs_fleet_watch() else None
        self._task: asyncio.Task[None] | None = None
        self.error: BaseException | None = None  # what ended it, beside a loss of the lease

    def start(self) -> None:
        """Begin as a standby."""
        self._task = asyncio.create_task(self._run(), name=self.identity)

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._task is not None and not self._task.done()

    @property
    def ended_well(self) -> bool:
        """Whether nothing ended it but its own death, the lease, or an API server that does not answer a new leader."""
        if not isinstance(self.error, BaseExceptionGroup):
            return self.error is None
        return self.error.split(Unavailable)[1] is None

    async def crash(self) -> None:
        """SIGKILL at whatever await it stands."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _note_removal(self, kubelet: SimKubelet, name: str) -> Callable[[], None]:
        """What to record once the pod is deleted: whether it served runs, and everybody could know it."""
        at = asyncio.get_running_loop().time()
        process = next((each for each in kubelet.processes.values() if each.plan.name == name and each.is_alive), None)
        has_way = not self.pod_net.is_cut and at - self.pod_net.open_since > SURE_SECONDS
        if process is None or not process.is_reachable or not has_way or process.plan.uid in kubelet.lost_nodes:
            return lambda: None
        held = {each.uid for each in process.machine.state(0, "").runs if each.state == "running"}
        runs = [
            run
            for run in self._server.all("agentruns")
            if run["metadata"]["uid"] in held and run.get("status", {}).get("podUID") == process.plan.uid
        ]
        is_wanted = all(not run["spec"].get("cancel") and "limits" not in run["spec"]["task"] for run in runs)
        if not runs or not is_wanted or at - process.reachable_since <= SURE_SECONDS:
            return lambda: None
        removed = Removed(at, process.plan.uid, tuple(run["metadata"]["uid"] for run in runs))
        return lambda: process.record.removed.append(removed)

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.plane.watch())
                await self.leader.acquired.wait()
                group.create_task(self.plane.lead())
                group.create_task(self._watch_fleets())
        except* NotLeader:
            pass
        except* Exception as errors:  # noqa: BLE001 - told by ended_well
            self.error = errors
        finally:
            self.leader.lose()

    async def _watch_fleets(self) -> None:
        """The part of kopf: a fleet that changed is due."""
        at, restores = 0, self._server.restores
        while True:
            changed = self._server.changed("agentdeployments")
            if restores != self._server.restores:  # kopf lists again
                at, restores = 0, self._server.restores
            for rv, _, _, item in self._server.after("agentdeployments", at):
                at = rv
                if self.hangs_fleet_watch():
                    continue
                self._fleets_seen = rv
                await self.api_net.pause()
                await self.api_net.gate()
                self.plane.fleets.add(item["metadata"]["namespace"], item["metadata"]["name"])
            await changed.wait()

    @property
    def sees_restored_lease(self) -> bool:
        """Whether its elector is told a lower resourceVersion of the Lease than before, which ends the process."""
        can_see = self.is_awake and not self.api_net.is_cut and self._settings.has_rule("13")
        return can_see and self._restores != self._server.restores

    @property
    def has_lost_its_lease(self) -> bool:
        """Whether it led and knows that it does no more, which ends the process."""
        return self.is_awake and self.is_running and self.leader.acquired.is_set() and not self.leader.is_leader

    @property
    def is_awake(self) -> bool:
        """Whether it is not stopped."""
        return self.api_net.is_awake

    def sleep(self) -> None:
        """SIGSTOP: nothing is sent and nothing arrives; what it believes stays."""
        self.api_net.sleep()
        self.pod_net.sleep()

    def wake(self) -> None:
        """SIGCONT."""
        self.api_net.wake()
        self.pod_net.wake()
