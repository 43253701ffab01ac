"""A fleet's pass, and the queue that makes it: observe, plan, apply, from scratch, one fleet at a time.

Whatever happens (an event of kopf, a change in the store, a pod's answer, the clock) makes a fleet's key due; nobody
hands over what changed. A fleet that fails backs off alone.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import structlog

from pinfleet_operator.api.child import PodRecord, VersionRecord
from pinfleet_operator.api.run import RunRecord
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.apply import Applier
from pinfleet_operator.errors import Bug, ClusterError, Conflict, NotLeader, Unavailable
from pinfleet_operator.kube.api import Kube
from pinfleet_operator.observe import Observer
from pinfleet_operator.plan.actions import DropFleet, Plan, SetFleet
from pinfleet_operator.plan.decide import plan
from pinfleet_operator.plan.memory import FleetKey, Memory
from pinfleet_operator.store import Store, VersionKey
from pinfleet_operator.work_queue import WorkQueue

FIRST_RETRY_SECONDS: Final = 0.25
LONGEST_RETRY_SECONDS: Final = 300.0
GATHER_SECONDS: Final = 0.02  # changes of pods come in bursts: one pass for all of them
WORKERS: Final = 4
NEVER: Final = math.inf
"""Seconds until the next pass over a name that stands for nothing any more: only an event makes one."""

log = structlog.get_logger()


class Reconciler:
    """Makes one pass over one fleet."""

    def __init__(self, *, store: Store, kube: Kube, settings: Settings, token_of: Callable[[str], str]) -> None:
        """Make one.

        Args:
            store: what the watches know; the run loop shares it.
            kube: the API server; writes through it ask for the lease first.
            settings: the operator's.
            token_of: a version uid's bearer token.
        """
        self._memory = Memory()
        self._observer = Observer(store=store, kube=kube, memory=self._memory, settings=settings)
        self._applier = Applier(store=store, kube=kube, memory=self._memory, token_of=token_of)

    async def once(self, key: FleetKey) -> float | None:
        """One pass; returns the seconds until the next, None where it is an event or the resync that makes one.

        It is `NEVER` for a name without fleet and versions, such as one that only a run ever named: whoever may create
        runs chooses names freely, and each must cost nothing once it was looked at.

        Raises:
            ClusterError: the pass is to be made again after a while.
        """
        namespace, name = key
        world = await self._observer.observe(namespace, name)
        decided = plan(world)
        look_again = await self._applier.apply(world, decided)
        self._log(key, decided)
        if world.is_synced and world.fleet is None and not world.versions:
            self._memory.forget(key)
            return NEVER
        return 0.0 if look_again else decided.requeue_after

    @staticmethod
    def _log(key: FleetKey, decided: Plan) -> None:
        """One line for a pass that did something; what the run loop is told in every pass is nothing."""
        done = [type(action).__name__ for action in decided.actions if not isinstance(action, SetFleet | DropFleet)]
        if done:
            log.info("fleet_pass", fleet=key[1], namespace=key[0], actions=done, again=decided.requeue_after)


class Word(NamedTuple):
    """What a pod says, as far as a fleet's pass decides by it."""

    boot: str
    version: str
    capacity: int
    is_draining: bool
    answers: bool
    is_empty: bool


class FleetQueue:
    """Keys of fleets, worked on by a few workers."""

    def __init__(
        self, *, store: Store, settings: Settings, once: Callable[[FleetKey], Awaitable[float | None]]
    ) -> None:
        """Make one.

        Args:
            store: its changes make fleets due.
            settings: the operator's.
            once: the pass over one fleet.
        """
        self._store, self._settings, self._once = store, settings, once
        self._failures: dict[FleetKey, int] = {}
        self._counted_at: dict[FleetKey, float] = {}  # loop time of the last pass for mere counts
        self._recount: dict[FleetKey, asyncio.TimerHandle] = {}
        self._heard: dict[str, Word] = {}  # the last of each pod, by its uid
        self.queue: WorkQueue[FleetKey] = WorkQueue()

    def add(self, namespace: str, name: str) -> None:
        """Make a fleet due."""
        self.queue.add((namespace, name))

    def start(self) -> None:
        """Listen to the store, and make every fleet due that it knows a version of, so that orphans are found."""
        self._store.versions.on_change.append(self._version_changed)
        self._store.pods.on_change.append(self._pod_changed)
        self._store.runs.on_count.append(self._run_counted)
        self._store.on_want.append(self._slot_wanted)
        for version in self._store.versions.all():
            self.add(version.namespace, version.fleet)

    def pod_heard(self, pod: PodRecord) -> None:
        """What a pod says has changed; for ``Dispatch.on_pod``.

        A pod that answers otherwise than before, or has become empty, decides about versions and pods. One more run on
        it is a matter of counts: some hundred a second come that way.
        """
        key, known, heard = (pod.namespace, pod.fleet), self._heard.get(pod.uid), self._word(pod)
        self._heard[pod.uid] = heard
        if known is not None and heard in {known, known._replace(is_empty=False)}:
            self._counts_moved(key)
        else:
            self.queue.add_after(key, GATHER_SECONDS)

    def _word(self, pod: PodRecord) -> "Word":
        mirror, is_empty = self._store.mirror(pod.uid), self._store.runs_on(pod.uid) == 0
        if mirror is None:
            return Word("", "", 0, is_draining=False, answers=False, is_empty=is_empty)
        answers = mirror.failing_since is None
        return Word(mirror.boot, mirror.version, mirror.capacity, mirror.draining, answers, is_empty)

    async def work(self) -> None:
        """Run the workers until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self._worker())

    async def _worker(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                await self.pass_over(key)
            finally:
                self.queue.done(key)

    async def pass_over(self, key: FleetKey) -> None:
        """One pass, and when the next is due; a failure is this fleet's alone."""
        try:
            again = await self._once(key)
        except (Bug, NotLeader):
            raise
        except Exception as err:  # noqa: BLE001 - one bad fleet must not stall the others: INV-18
            self._back_off(key, err)
            return
        self._failures.pop(key, None)
        if again == NEVER:
            self._forget(key)
            return
        self.queue.add_after(key, self._settings.resync_seconds if again is None else again)

    def _forget(self, key: FleetKey) -> None:
        """Keep nothing of a name, though its runs may go on making it due: the time of its last count goes later."""
        loop = asyncio.get_running_loop()
        loop.call_later(self._settings.count_seconds, self._counted_at.pop, key, None)

    def _back_off(self, key: FleetKey, err: Exception) -> None:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        wait = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 12))
        if isinstance(err, Unavailable) and err.retry_after_seconds is not None:
            wait = max(wait, err.retry_after_seconds)
        namespace, name = key
        level = "debug" if isinstance(err, Conflict) else "warning" if isinstance(err, ClusterError) else "error"
        getattr(log, level)(
            "fleet_pass_failed",
            fleet=name,
            namespace=namespace,
            cause=str(err),
            error=type(err).__name__,
            again_in_seconds=wait,
            exc_info=level == "error",
        )
        self.queue.add_after(key, wait)

    # Events

    def _version_changed(self, old: VersionRecord | None, new: VersionRecord | None) -> None:
        version = new or old
        if version is not None:
            self.queue.add_after((version.namespace, version.fleet), GATHER_SECONDS)

    def _pod_changed(self, old: PodRecord | None, new: PodRecord | None) -> None:
        pod = new or old
        if new is None and old is not None:
            self._heard.pop(old.uid, None)
        if pod is not None and pod.fleet:
            self.queue.add_after((pod.namespace, pod.fleet), GATHER_SECONDS)

    def _run_counted(self, old: RunRecord | None, new: RunRecord | None) -> None:
        """Counts moved: now and then, but at once where a version that is not active may have become empty."""
        run = new or old
        if run is None:
            return
        key = (run.namespace, run.fleet)
        has_ended = old is not None and old.is_open and (new is None or not new.is_open)
        view = self._store.catalog.get(key)
        is_active = view is not None and run.version == view.active_version
        if has_ended and run.version is not None and not is_active:
            left = self._store.counts(run.namespace, run.fleet, run.version).open
            if left == 0:
                self.queue.add(key)
        self._counts_moved(key)

    def _slot_wanted(self, key: VersionKey) -> None:
        """A version without pods gets one at once; where there are pods, more is a matter of counts."""
        namespace, fleet, _ = key
        version = self._store.find_version(key)
        pods = self._store.pods_of(version.uid) if version is not None else ()
        if version is not None and all(pod.is_terminal or pod.deleting or pod.cordoned for pod in pods):
            self.queue.add((namespace, fleet))

    def _counts_moved(self, key: FleetKey) -> None:
        loop = asyncio.get_running_loop()
        wait = self._counted_at.get(key, -self._settings.count_seconds) + self._settings.count_seconds - loop.time()
        if wait > 0 and key not in self._recount:
            self._recount[key] = loop.call_later(wait, self._count_now, key)
        elif wait <= 0:
            self._counted_at[key] = loop.time()
            self.queue.add(key)

    def _count_now(self, key: FleetKey) -> None:
        self._recount.pop(key, None)
        self._counted_at[key] = asyncio.get_running_loop().time()
        self.queue.add(key)
