"""The run loop: every event makes a run's key due, every pass asks ``judge`` from scratch and carries out the answer.

Events come from the watches, from pods' answers, from fleets' passes and from the clock. A key is never worked on twice
at a time, and stays due until there is nothing left to do for it.
"""

import asyncio
from datetime import timedelta

import structlog

from pinfleet_operator.api import keys
from pinfleet_operator.api.approval import ApprovalRecord
from pinfleet_operator.api.child import PodRecord
from pinfleet_operator.api.run import RunRecord
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.clock import Clock
from pinfleet_operator.errors import ClusterError, NotLeader, PodError, Rejected
from pinfleet_operator.kube.api import Kube
from pinfleet_operator.runs.act import Act
from pinfleet_operator.runs.dispatch import Dispatch
from pinfleet_operator.runs.ended import EndedRuns
from pinfleet_operator.runs.judge import judge
from pinfleet_operator.runs.judge.situation import Assign, DeleteRun, Refused, Report, Situation, Verdict
from pinfleet_operator.runs.memory import Memory
from pinfleet_operator.runs.situate import Situate
from pinfleet_operator.runs.waiters import Line, Waiters
from pinfleet_operator.store import FleetKey, Store
from pinfleet_operator.work_queue import WorkQueue

FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.25, 30.0
BACKLOG_AT_ONCE, BACKLOG_PAUSE_SECONDS = 256, 0.002

log = structlog.get_logger()


class RunLoop:
    """Passes over runs, by a bounded number of workers."""

    def __init__(self, *, store: Store, kube: Kube, dispatch: Dispatch, clock: Clock, settings: Settings) -> None:
        self._store, self._kube, self._dispatch, self._settings = store, kube, dispatch, settings
        self._memory, self._waiters = Memory(kube.server_now), Waiters()
        self._ended = EndedRuns(store)
        self._situate = Situate(store=store, kube=kube, memory=self._memory, ended=self._ended, settings=settings)
        self._act = Act(
            store=store,
            kube=kube,
            dispatch=dispatch,
            memory=self._memory,
            seat=self._situate.seat,
            clock=clock,
            settings=settings,
        )
        self._kept: dict[FleetKey, tuple[int, int]] = {}  # seconds and number of ended runs that each fleet keeps
        self._clock, self._backlog = clock, list[str]()
        self.queue: WorkQueue[str] = WorkQueue()

    def start(self) -> None:
        """Listen to every source of events, and note every known run: `work` makes each of them due once."""
        self._store.runs.on_change.append(self._run_changed)
        self._store.pods.on_change.append(self._pod_changed)
        self._store.approvals.on_change.append(self._approval_changed)
        self._store.on_fleet.append(self._fleet_changed)
        self._dispatch.on_runs.append(self._runs_heard)
        self._dispatch.on_pod.append(self._situate.pod_heard)  # first: the slots are read after it
        self._dispatch.on_pod.append(self._slots_changed)
        for pod in self._store.pods.all():
            self._situate.note_pod(pod, is_gone=False)
        known = [(run.phase != "Pending", run.uid) for run in self._store.runs.all()]
        self._backlog = [uid for _, uid in sorted(known)]
        for approval in self._store.approvals.all():
            if self._store.runs.get(approval.run_uid) is None:
                self.queue.add(approval.run_uid)

    async def work(self) -> None:
        """Run the workers until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work_off_backlog())
            for _ in range(self._settings.run_workers):
                group.create_task(self._worker())

    async def _worker(self) -> None:
        while True:
            uid = await self.queue.get()
            try:
                await self.once(uid)
            finally:
                self.queue.done(uid)
            await asyncio.sleep(0)  # most passes wait for nothing: thousands in a row would keep the Lease from renewal

    async def _work_off_backlog(self) -> None:
        """Make the runs known at the start due, a few at a time: what happens meanwhile does not wait behind them."""
        backlog, self._backlog = self._backlog, []
        for uid in backlog:
            run = self._store.runs.get(uid)
            if run is not None:
                self._run_changed(None, run)
            while len(self.queue) >= BACKLOG_AT_ONCE:
                await self._clock.sleep(BACKLOG_PAUSE_SECONDS)

    async def once(self, uid: str) -> None:
        """One pass over one run; whatever fails is looked at again after a while, and holds up no other run."""
        situation = self._situate.situation(uid)
        if self._is_refused(situation):
            return
        try:
            verdict = judge(situation)
            failed = await self._carry_out(situation, verdict)
        except NotLeader:
            raise
        except Rejected as err:
            self._note_refusal(situation, err)
            await self._tell_refusal(situation)
            self.queue.add(uid)
            return
        except ClusterError as err:
            verdict, failed = Verdict(), err
        except Exception as err:  # one bad object must not stall the others: INV-18
            log.exception("pass_broken", uid=uid)
            verdict, failed = Verdict(), err
        took = failed is None and any(isinstance(action, Assign) for action in verdict.actions)
        self._pass_on(situation, took=took)
        if failed is not None:
            self._back_off(uid, failed)
        else:
            self._go_on(situation, verdict)

    def _back_off(self, uid: str, failed: Exception) -> None:
        memory = self._memory.of(uid)
        memory.failures += 1
        wait = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(memory.failures - 1, 10))
        log.debug("pass_failed", uid=uid, cause=str(failed), again_in_seconds=wait)
        self.queue.add_after(uid, wait)

    def _go_on(self, s: Situation, verdict: Verdict) -> None:
        """See to it that the run is looked at again when something can have changed."""
        if s.run is None and not s.listed:
            self._memory.forget(s.uid)
            if verdict.again_at is not None:
                self.queue.add_after(s.uid, (verdict.again_at - self._kube.server_now()).total_seconds())
            return
        if rests(s, verdict):
            self._memory.forget(s.uid)
        else:
            memory = self._memory.of(s.uid)
            memory.failures, memory.write_refused = 0, None
        for at in (verdict.again_at, self._situate.deletion_hangs_at(s)):
            if at is not None:
                self.queue.add_after(s.uid, (at - self._kube.server_now()).total_seconds())
        if any(isinstance(action, DeleteRun) for action in verdict.actions):
            return  # the watch will show that it is gone
        if verdict.actions:
            self.queue.add(s.uid)
        self._note_waiting(s, verdict)

    async def _carry_out(self, situation: Situation, verdict: Verdict) -> Exception | None:
        """Do what was decided; a pod that refuses or is silent does not hold back the other actions."""
        failed: Exception | None = None
        for action in verdict.actions:
            try:
                await self._act.carry_out(situation, action)
            except PodError as err:
                failed = err
        return failed

    def _note_refusal(self, s: Situation, err: Rejected) -> None:
        """What the API server refuses as invalid is no better a second later; say so on the run, and try again late."""
        memory = self._memory.of(s.uid)
        memory.write_refused = Refused(s.now, str(err))
        memory.refused_generation = s.run.generation if s.run else 0
        log.warning("write_rejected", uid=s.uid, cause=str(err))

    def _is_refused(self, s: Situation) -> bool:
        """Whether a write for this run was refused a while ago, and nobody has changed the run's spec since."""
        memory = self._memory.of(s.uid)
        if memory.write_refused is None or s.run is None or s.run.generation != memory.refused_generation:
            return False
        until = memory.write_refused.since + timedelta(seconds=self._settings.rejected_seconds)
        if until <= s.now:
            return False
        self.queue.add_after(s.uid, (until - s.now).total_seconds())
        return True

    async def _tell_refusal(self, s: Situation) -> None:
        refused = self._memory.of(s.uid).write_refused
        if refused is None or s.run is None or not s.run.is_open or s.run.reason == keys.WRITE_REFUSED:
            return
        try:
            await self._act.carry_out(s, Report(keys.WRITE_REFUSED, refused.message))
        except ClusterError as err:
            log.warning("refusal_not_told", uid=s.uid, cause=str(err))

    # Waiting

    def _note_waiting(self, s: Situation, verdict: Verdict) -> None:
        run = s.run
        is_at_rest = rests(s, verdict) or (run is not None and run.phase == "Running" and not s.is_pod_gone)
        if run is None or not run.is_open or is_at_rest:
            return
        self._waiters.wait_for_fleet((run.namespace, run.fleet), run.uid)
        key = self._situate.version_key(run)
        if key is not None and verdict.needs_slot:
            self._waiters.wait_for_slot((key, verdict.alone), run.created_at, run.uid)
            self._store.slot_wanted(key)

    def _pass_on(self, s: Situation, *, took: bool) -> None:
        """A run that was told of a free slot and did not take it lets the next one try."""
        memory = self._memory.of(s.uid)
        line, memory.invited = memory.invited, None
        if line is not None and not took:
            self._invite(line)

    # Events

    def _run_changed(self, old: RunRecord | None, new: RunRecord | None) -> None:
        run = new or old
        if run is None:
            return
        if new is None or not new.is_open:
            self._waiters.forget((run.namespace, run.fleet), run.uid)
            self._note_end(run, is_gone=new is None)
        if new is None and not self._situate.is_listed(run.uid) and not self._store.approvals.of(run.uid):
            self._memory.forget(run.uid)
        else:
            self.queue.add(run.uid)
        if old is not None and old.phase == "Running" and old.pod_uid:
            pod = self._store.pods.get(old.pod_uid)
            if pod is not None:
                self._slots_changed(pod)

    def _approval_changed(self, old: ApprovalRecord | None, new: ApprovalRecord | None) -> None:
        approval = new or old
        if approval is not None:
            self.queue.add(approval.run_uid)

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
        self._situate.note_pod(pod, is_gone=new is None)
        for uid in self._store.runs.assigned_to(pod.uid):
            self.queue.add(uid)
        self._slots_changed(pod)

    def _runs_heard(self, uids: set[str], pod_uid: str) -> None:
        for uid in uids:
            self._situate.note_listing(uid, pod_uid)
            self.queue.add(uid)

    def _slots_changed(self, pod: PodRecord) -> None:
        version = self._store.versions.get(pod.version_uid)
        if version is not None:
            key = (version.namespace, version.fleet, version.id)
            for alone in (True, False):  # an empty pod is rarer than a slot
                self._invite((key, alone))

    def _invite(self, line: Line) -> None:
        """Tell as many waiting runs as there are free slots, the oldest first."""
        if not self._waiters.has_any(line):
            return
        key, alone = line
        for uid in self._waiters.next_for(line, self._situate.free_slots(key, alone=alone)):
            self._memory.of(uid).invited = line
            self.queue.add(uid)

    def _fleet_changed(self, key: FleetKey) -> None:
        view = self._store.catalog.get(key)
        concerned = self._waiters.of_fleet(key)
        if view is not None and view.cancels_runs:
            concerned = (*concerned, *self._store.runs.counts.open_of(key))
        for uid in concerned:
            self.queue.add(uid)
        kept = (view.run_ttl_seconds, view.ended_runs_limit) if view else None
        if self._kept.get(key) != kept:  # how long ended runs are kept is known now, or has changed
            for uid in self._ended.of(key):
                self.queue.add(uid)
        if kept is None:
            self._kept.pop(key, None)
        else:
            self._kept[key] = kept


def rests(s: Situation, verdict: Verdict) -> bool:
    """Whether nothing is to be remembered of a run: it is parked, perhaps for weeks, and nothing is left to do."""
    is_parked = s.run is not None and s.run.phase == "Parked"
    return is_parked and not (s.listed or verdict.actions or verdict.needs_slot or s.next_wake_at)
