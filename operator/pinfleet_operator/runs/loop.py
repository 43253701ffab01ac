"""The run loop: every event makes a run's key due, every pass asks ``judge`` from scratch and carries out the answer.

Events come from the watches, from pods' answers, from fleets' passes and from the clock. A key is never worked on twice
at a time, and stays due until there is nothing left to do for it.
"""

import asyncio
from datetime import datetime, timedelta

import structlog

from pinfleet_operator.api.child import PodRecord, VersionRecord
from pinfleet_operator.api.run import RunRecord
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.clock import Clock
from pinfleet_operator.errors import ClusterError, Conflict, PinfleetError, PodError, Rejected
from pinfleet_operator.kube.api import Kube
from pinfleet_operator.runs.act import Act
from pinfleet_operator.runs.dispatch import Dispatch
from pinfleet_operator.runs.ended import EndedRuns
from pinfleet_operator.runs.judge import judge
from pinfleet_operator.runs.judge.situation import Listed, Situation, Verdict
from pinfleet_operator.runs.memory import Memory
from pinfleet_operator.runs.place import place
from pinfleet_operator.runs.waiters import Waiters
from pinfleet_operator.store import FleetKey, Store, VersionKey
from pinfleet_operator.work_queue import WorkQueue

FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.25, 30.0
REJECTED_RETRY_SECONDS = 300.0  # what the API server refuses as invalid is no better a second later

log = structlog.get_logger()


class RunLoop:
    """Passes over runs, by a bounded number of workers."""

    def __init__(self, *, store: Store, kube: Kube, dispatch: Dispatch, clock: Clock, settings: Settings) -> None:
        self._store, self._kube, self._dispatch, self._settings = store, kube, dispatch, settings
        self._memory, self._waiters = Memory(kube.server_now), Waiters()
        self._act = Act(store=store, kube=kube, dispatch=dispatch, memory=self._memory, clock=clock, settings=settings)
        self._ended = EndedRuns(store)
        self.queue: WorkQueue[str] = WorkQueue()
        self._deleting_since: dict[str, datetime] = {}  # pod uid -> when its deletion was first seen
        self._listing_pods: dict[str, set[str]] = {}  # run uid -> uids of pods that may list it

    def start(self) -> None:
        """Listen to every source of events, and make every known run due once."""
        self._store.runs.on_change.append(self._run_changed)
        self._store.pods.on_change.append(self._pod_changed)
        self._store.on_fleet.append(self._fleet_changed)
        self._dispatch.on_runs.append(self._runs_heard)
        self._dispatch.on_pod.append(self._slots_changed)
        for pod in self._store.pods.all():
            self._note_deletion(pod)
        for run in self._store.runs.all():
            self._run_changed(None, run)

    async def work(self) -> None:
        """Run the workers until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._settings.run_workers):
                group.create_task(self._worker())

    async def _worker(self) -> None:
        while True:
            uid = await self.queue.get()
            try:
                await self.once(uid)
            finally:
                self.queue.done(uid)

    async def once(self, uid: str) -> None:
        """One pass over one run; whatever fails is looked at again after a while."""
        memory = self._memory.of(uid)
        situation = self._situation(uid)
        try:
            verdict = judge(situation)
            failed = await self._carry_out(situation, verdict)
            memory.failures = memory.failures + 1 if failed else 0
        except Rejected as err:
            log.warning("write_rejected", uid=uid, cause=str(err))
            self.queue.add_after(uid, REJECTED_RETRY_SECONDS)
            return
        except ClusterError as err:
            memory.failures += 0 if isinstance(err, Conflict) else 1
            failed = err
        if failed is not None:
            wait = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(memory.failures, 10))
            log.debug("pass_failed", uid=uid, cause=str(failed), again_in_seconds=wait)
            self.queue.add_after(uid, wait)
            return
        for at in (verdict.again_at, self._deletion_hangs_at(situation)):
            if at is not None:
                self.queue.add_after(uid, (at - self._kube.server_now()).total_seconds())
        if verdict.actions:
            self.queue.add(uid)
        else:
            self._note_waiting(situation)

    async def _carry_out(self, situation: Situation, verdict: Verdict) -> PinfleetError | None:
        """Do what was decided; a pod that refuses or is silent does not hold back the other actions."""
        failed: PinfleetError | None = None
        for action in verdict.actions:
            try:
                await self._act.carry_out(situation, action)
            except PodError as err:
                failed = err
        return failed

    # Observing

    def _situation(self, uid: str) -> Situation:
        run = self._store.runs.get(uid)
        memory = self._memory.of(uid)
        now = self._kube.server_now()
        fleet = self._store.catalog.get((run.namespace, run.fleet)) if run else None
        pod_uid = run.pod_uid if run is not None and run.phase == "Running" else None
        mirror = self._store.mirror(pod_uid) if pod_uid else None
        listed = self._listed(uid)
        can_place = run is not None and self._can_place(run)
        self._note_loss(uid, run, can_place=can_place)
        return Situation(
            uid=uid,
            run=run,
            is_absent=memory.is_absent,
            fleet=fleet,
            may_pin=run is None or self._store.may_pin((run.namespace, run.fleet)) or not self._settings.has_rule("3"),
            now=now,
            is_pod_gone=pod_uid is not None and (self._store.is_gone(pod_uid) or self._hangs(pod_uid, now)),
            pod=(self._store.pods.get(pod_uid) or self._store.lost_pods.get(pod_uid)) if pod_uid else None,
            mirror=mirror if mirror is not None and mirror.has_answered else None,
            silent_since=mirror.failing_since if mirror is not None else None,
            listed=listed,
            steps_heard=memory.steps,
            told=tuple(memory.told.values()),
            above_epoch=memory.above_epoch,
            can_place=can_place,
            lost_since=memory.lost_since,
            reported_at=memory.reported_at,
            is_surplus=run is not None and not run.is_open and self._ended.is_surplus(run),
            settings=self._settings,
        )

    def _hangs(self, pod_uid: str, now: datetime) -> bool:
        """Whether the pod's deletion hangs for so long that its node must be gone (rule 6)."""
        since = self._deleting_since.get(pod_uid)
        return since is not None and since + timedelta(seconds=self._settings.node_lost_seconds) <= now

    def _deletion_hangs_at(self, s: Situation) -> datetime | None:
        """When the run's pod will count as gone, unless it goes before."""
        since = self._deleting_since.get(s.pod.uid) if s.pod is not None and not s.is_pod_gone else None
        return None if since is None else since + timedelta(seconds=self._settings.node_lost_seconds)

    def _note_deletion(self, pod: PodRecord) -> None:
        if pod.deleting:
            self._deleting_since.setdefault(pod.uid, self._kube.server_now())

    def _listed(self, uid: str) -> tuple[Listed, ...]:
        pods = self._listing_pods.get(uid)
        if not pods:
            return ()
        found, memory = list[Listed](), self._memory.of(uid)
        for pod_uid in sorted(pods):
            mirror = self._store.mirror(pod_uid)
            listing = mirror.runs.get(uid) if mirror is not None else None
            if listing is None:
                pods.discard(pod_uid)
            else:
                found.append(Listed(pod_uid, listing))
                memory.steps = max(memory.steps, listing.steps)
        if not pods:
            del self._listing_pods[uid]
        return tuple(found)

    def _version_key(self, run: RunRecord) -> VersionKey | None:
        fleet = self._store.catalog.get((run.namespace, run.fleet))
        version = run.version or run.requested_version or (fleet.active_version if fleet else None)
        return (run.namespace, run.fleet, version) if version else None

    def _can_place(self, run: RunRecord) -> bool:
        key = self._version_key(run)
        version = self._store.find_version(key) if key else None
        if version is None:
            return False
        return place(self._act.seat(pod, version.runs_per_pod) for pod in self._store.pods.of(version.uid)) is not None

    def _note_loss(self, uid: str, run: RunRecord | None, *, can_place: bool) -> None:
        memory = self._memory.of(uid)
        on_live_pod = run is not None and run.pod_uid is not None and not self._store.is_gone(run.pod_uid)
        if run is None or not run.is_open or on_live_pod or (can_place and run.phase != "Running"):
            memory.lost_since = None
        elif memory.lost_since is None:
            memory.lost_since = self._kube.server_now()

    def _note_waiting(self, s: Situation) -> None:
        run = s.run
        if run is None or not run.is_open or (run.phase == "Running" and not s.is_pod_gone):
            return
        self._waiters.wait_for_fleet((run.namespace, run.fleet), run.uid)
        key = self._version_key(run)
        if key is not None and not s.can_place and run.phase != "Held":
            self._waiters.wait_for_slot(key, run.created_at, run.uid)

    # Events

    def _run_changed(self, old: RunRecord | None, new: RunRecord | None) -> None:
        run = new or old
        if run is None:
            return
        if new is None or not new.is_open:
            self._waiters.forget((run.namespace, run.fleet), run.uid)
            self._note_end(run, is_gone=new is None)
        if new is None and run.uid not in self._listing_pods:
            self._memory.forget(run.uid)
        else:
            self.queue.add(run.uid)
        if old is not None and old.phase == "Running" and old.pod_uid:
            pod = self._store.pods.get(old.pod_uid)
            if pod is not None:
                self._slots_changed(pod)

    def _note_end(self, run: RunRecord, *, is_gone: bool) -> None:
        if is_gone:
            self._ended.remove(run)
            return
        self._ended.add(run)
        for surplus in self._ended.surplus((run.namespace, run.fleet)):
            self.queue.add(surplus)

    def _pod_changed(self, old: PodRecord | None, new: PodRecord | None) -> None:
        pod = new or old
        if pod is None:
            return
        if new is None:
            self._deleting_since.pop(pod.uid, None)
        else:
            self._note_deletion(new)
        for uid in self._store.runs.assigned_to(pod.uid):
            self.queue.add(uid)
        self._slots_changed(pod)

    def _runs_heard(self, uids: set[str], pod_uid: str) -> None:
        for uid in uids:
            self._listing_pods.setdefault(uid, set()).add(pod_uid)
            self.queue.add(uid)

    def _slots_changed(self, pod: PodRecord) -> None:
        version = self._store.versions.get(pod.version_uid)
        if version is not None:
            self._invite(version)

    def _invite(self, version: VersionRecord) -> None:
        free = sum(self._act.seat(pod, version.runs_per_pod).free for pod in self._store.pods.of(version.uid))
        for uid in self._waiters.next_for((version.namespace, version.fleet, version.id), free):
            self.queue.add(uid)

    def _fleet_changed(self, key: FleetKey) -> None:
        for uid in self._waiters.of_fleet(key):
            self.queue.add(uid)
        for uid in self._ended.surplus(key):
            self.queue.add(uid)
