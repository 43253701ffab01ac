"""The control plane's parts and how they hang together; ``__main__`` and the simulator both make one.

A standby keeps the store warm and writes nothing. A leader lists what it must not be wrong about, then works.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import structlog

from pinfleet_operator.api import keys
from pinfleet_operator.api.approval import decode_approval
from pinfleet_operator.api.child import decode_pod, decode_version
from pinfleet_operator.api.run import decode_kept
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.clock import Clock
from pinfleet_operator.errors import ClusterError
from pinfleet_operator.kube.api import Kube
from pinfleet_operator.kube.listing import list_all
from pinfleet_operator.kube.reflector import Reflector
from pinfleet_operator.kube.resources import AGENT_APPROVALS, AGENT_DEPLOYMENTS, AGENT_RUNS, AGENT_VERSIONS, PODS
from pinfleet_operator.lease import Leader
from pinfleet_operator.pod_watch import PodWatch
from pinfleet_operator.reconcile import FleetQueue, Reconciler
from pinfleet_operator.runs.dispatch import Dispatch
from pinfleet_operator.runs.loop import RunLoop
from pinfleet_operator.store import Store
from pinfleet_operator.store.flights import Term
from pinfleet_operator.wire import Pods, token_for

LIST_RETRY_SECONDS = 1.0

log = structlog.get_logger()


@dataclass(frozen=True)
class Ends:
    """What the control plane speaks to."""

    kube: Kube  # reads, and writes that are refused unless this process leads
    pods: Pods
    leader: Leader
    clock: Clock


class ControlPlane:
    """Store, watches and both loops."""

    def __init__(self, ends: Ends, *, key: bytes, settings: Settings, namespace: str | None = None) -> None:
        """Make a control plane that does nothing yet.

        Args:
            ends: see there.
            key: from which the pods' tokens are derived.
            settings: times, and rules that a test takes out.
            namespace: None: all of them.
        """
        self.store = Store(lower_may_replace=not settings.has_rule("16"))
        self._kube, self._clock, self._namespace, self._settings = ends.kube, ends.clock, namespace, settings
        kube, clock, store = ends.kube, ends.clock, self.store
        pods = PodWatch(store=store, kube=kube, clock=clock)
        ours = f"{keys.LABEL_FLEET},{keys.LABEL_VERSION}"
        self.reflectors = (
            Reflector(kube, AGENT_VERSIONS, decode_version, store.versions, clock=clock, namespace=namespace),
            Reflector(kube, PODS, decode_pod, pods, clock=clock, namespace=namespace, label_selector=ours),
            Reflector(kube, AGENT_APPROVALS, decode_approval, store.approvals, clock=clock, namespace=namespace),
            Reflector(kube, AGENT_RUNS, decode_kept, store.runs, clock=clock, namespace=namespace),
        )
        self.dispatch = Dispatch(
            store=self.store,
            pods=ends.pods,
            kube=ends.kube,
            clock=ends.clock,
            settings=settings,
            raise_transitions=ends.leader.raise_transitions,
        )
        self.runs = RunLoop(store=store, kube=kube, dispatch=self.dispatch, clock=clock, settings=settings)
        reconciler = Reconciler(
            store=self.store, kube=ends.kube, settings=settings, token_of=lambda uid: token_for(key, uid)
        )
        self.fleets = FleetQueue(store=self.store, settings=settings, once=reconciler.once)

    @property
    def is_ready(self) -> bool:
        """Whether everything has been listed once."""
        return self.store.is_synced

    def silent_seconds(self) -> float | None:
        """Age of the most silent watch's last word; None: one has not begun."""
        ages = [reflector.silent_seconds() for reflector in self.reflectors]
        known = [age for age in ages if age is not None]
        return max(known) if len(known) == len(ages) else None

    async def watch(self) -> None:
        """Keep the store warm until cancelled; leader and standby alike."""
        async with asyncio.TaskGroup() as group:
            for reflector in self.reflectors:
                group.create_task(reflector.run())

    async def lead(self, on_leading: Callable[[], None] = lambda: None) -> None:
        """Work as the leader until cancelled.

        A new leader lists every fleet consistently before its first write (rule 4): what its watches last heard may be
        older than what the former leader wrote.
        """
        for reflector in self.reflectors:
            await reflector.synced.wait()
        if self._settings.has_rule("4"):
            await self._list_fleets()
        self.fleets.start()
        self.dispatch.on_pod.append(self.fleets.pod_heard)
        self.runs.start()
        self.dispatch.start()
        on_leading()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.runs.work())
                group.create_task(self.fleets.work())
        finally:
            await self.dispatch.stop()

    async def _list_fleets(self) -> None:
        while True:
            try:
                found = await list_all(self._kube, AGENT_DEPLOYMENTS, namespace=self._namespace)
                break
            except ClusterError as err:  # after a failover the API server is busiest
                log.warning("fleets_not_listed", cause=str(err))
                await self._clock.sleep(LIST_RETRY_SECONDS)
        if self._settings.has_rule("7"):
            self.store.flights.term = Term(int(found.resource_version), self._kube.server_now())
        for raw in found.items:
            meta = msgspec.json.decode(raw, type=_Named).metadata
            self.fleets.add(meta.namespace, meta.name)


class _Meta(msgspec.Struct):
    namespace: str
    name: str


class _Named(msgspec.Struct):
    metadata: _Meta
