"""A toy cluster for the planner: it carries plans out in memory, and lets runs begin and end."""

import itertools
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec

from pinfleet_operator.api import keys
from pinfleet_operator.api.child import VersionRecord
from pinfleet_operator.api.fleet import Counts, FleetView
from pinfleet_operator.api.models.agent_deployment import AgentDeploymentSpec, AgentDeploymentStatus
from pinfleet_operator.plan import actions as do
from pinfleet_operator.plan import naming
from pinfleet_operator.plan.world import FleetState, LostVersion, PodView, VersionView, World
from tests.unit.operator.plan.worlds import FLEET, FLEET_UID, NOW, Run, a_pod, a_record, a_spec, a_world


class InvariantBrokenError(AssertionError):
    """A checker found what must never be."""


@dataclass
class Cluster:
    """The cluster and the run loop."""

    now: datetime = NOW
    spec: AgentDeploymentSpec = field(default_factory=a_spec)
    generation: int = 1
    status: AgentDeploymentStatus = field(default_factory=AgentDeploymentStatus)
    finalizers: tuple[str, ...] = ()
    is_deleting: bool = False
    is_gone: bool = False
    written_at: datetime | None = None
    records: dict[str, VersionRecord] = field(default_factory=dict)  # by uid
    pods: dict[str, PodView] = field(default_factory=dict)  # by uid
    runs: list[Run] = field(default_factory=list)
    secrets: dict[str, datetime] = field(default_factory=dict)
    confirmed: set[str] = field(default_factory=set)  # version uids
    asleep: set[str] = field(default_factory=set)  # version uids
    emptied: dict[str, datetime] = field(default_factory=dict)  # version uid -> since
    view: FleetView | None = None
    writes: list[do.Action] = field(default_factory=list)
    ended_at: dict[str, datetime] = field(default_factory=dict)  # version id -> its last run's end
    _ids: Any = field(default_factory=itertools.count)

    # What the pass sees

    def world(self) -> World:
        """The world now."""
        fleet = None
        if not self.is_gone:
            fleet = FleetState(
                uid=FLEET_UID,
                generation=self.generation,
                resource_version="1",
                spec=self.spec,
                spec_error="",
                status=self.status,
                is_deleting=self.is_deleting,
                finalizers=self.finalizers,
            )
        known = {record.id for record in self.records.values()}
        lost = [
            LostVersion(each.name, self.counts(each.name))
            for each in self.status.versions
            if each.name not in known and self.counts(each.name).open > 0
        ]
        world = a_world(
            *(self._version(record) for record in self.records.values()),
            fleet=fleet,
            now=self.now,
            lost=tuple(lost),
            unpinned=sum(run.is_open and run.version is None for run in self.runs),
            takes_no_pins=self.view is None or self.view.is_deleting,
            status_written_at=self.written_at,
        )
        return world if fleet is not None else replace(world, fleet=None)

    def _version(self, record: VersionRecord) -> VersionView:
        counts = self.counts(record.id)
        if counts.running + counts.pending:
            self.asleep.discard(record.uid)
        if counts.open:
            self.confirmed.discard(record.uid)
            self.emptied.pop(record.uid, None)
        else:
            self.emptied.setdefault(record.uid, self.now)
        return VersionView(
            record=record,
            counts=counts,
            due=0,
            next_due_at=None,
            pods=tuple(pod for pod in self.pods.values() if pod.record.version_uid == record.uid),
            is_confirmed_empty=record.uid in self.confirmed,
            is_confirmed_asleep=record.uid in self.asleep,
            empty_since=self.emptied.get(record.uid),
            secret_written_at=self.secrets.get(record.uid),
            refusal=None,
        )

    def counts(self, version: str) -> Counts:
        """Open runs of a version."""
        runs = [run for run in self.runs if run.version == version and run.is_open]
        by_phase = {phase: sum(run.phase == phase for run in runs) for phase in ("Running", "Parked", "Pending")}
        return Counts(
            open=len(runs),
            running=by_phase["Running"],
            parked=by_phase["Parked"],
            pending=by_phase["Pending"],
            held=0,
            oldest_open_run=runs[0].name if runs else None,
            oldest_open_since=runs[0].created_at if runs else None,
        )

    # What a plan does

    def carry_out(self, action: do.Action) -> None:  # noqa: C901, PLR0912 - a branch for each kind of action
        """Do what a plan asks for."""
        if not isinstance(action, do.SetFleet | do.DropFleet):
            self.writes.append(action)
        match action:
            case do.AddFinalizer():
                self.finalizers = (keys.FINALIZER,)
            case do.RemoveFinalizer():
                self.finalizers = ()
                self.is_gone = self.is_deleting
            case do.CreateVersion(spec):
                made = a_record(spec.id, spec.revision, created_at=self.now, spec_hash=spec.spec_hash)
                made = msgspec.structs.replace(
                    made, uid=f"{spec.id}-{next(self._ids)}", runs_per_pod=spec.runs_per_pod, claim_name="state"
                )
                self.records[made.uid] = made
            case do.DeleteVersion(_, uid):
                del self.records[uid]
                self.pods = {key: pod for key, pod in self.pods.items() if pod.record.version_uid != uid}
            case do.WriteSecret(_, uid):
                self.secrets[uid] = self.now
            case do.CreatePod(version, version_uid, name):
                self._create_pod(version, version_uid, name)
            case do.ClosePod(uid):
                self.pods[uid] = replace(self.pods[uid], is_closed=True)
            case do.ReopenPod(uid):
                self.pods[uid] = replace(self.pods[uid], is_closed=False)
            case do.CordonPod(_, uid):
                self._change_pod(uid, cordoned=True)
            case do.DeletePod(_, uid):
                self._change_pod(uid, deleting=True)
            case do.ConfirmEmpty(version, uid):
                if self.counts(version).open == 0:
                    self.confirmed.add(uid)
            case do.ConfirmAsleep(version, uid):
                if self.counts(version).running + self.counts(version).pending == 0:
                    self.asleep.add(uid)
            case do.Promote(_, status, view):
                self._write(status)
                self.view = view
            case do.WriteStatus(status):
                self._write(status)
            case do.MirrorStatus(_, uid, _, status):
                raw = msgspec.Raw(status.model_dump_json(by_alias=True, exclude_none=True).encode())
                self.records[uid] = msgspec.structs.replace(self.records[uid], status=raw)
            case do.SetFleet(view):
                self.view = view
            case do.DropFleet():
                self.view = None

    def _write(self, status: AgentDeploymentStatus) -> None:
        stored = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        self.status = AgentDeploymentStatus.model_validate(stored)
        self.written_at = self.now

    def _create_pod(self, version: str, version_uid: str, name: str) -> None:
        if any(pod.record.name == name for pod in self.pods.values()):
            raise InvariantBrokenError(f"pod {name} exists")
        uid = f"{name}-{next(self._ids)}"
        self.pods[uid] = a_pod(
            0,
            version,
            ready=False,
            uid=uid,
            name=name,
            version_uid=version_uid,
            phase="Pending",
            created_at=self.now,
            ready_since=None,
            empty_since=self.now,
        )

    def _change_pod(self, uid: str, **changes: Any) -> None:
        pod = self.pods[uid]
        self.pods[uid] = replace(pod, record=msgspec.structs.replace(pod.record, **changes))

    # The cluster and the run loop

    def kubelet(self) -> None:
        """Start every pod, and end those that are being deleted."""
        for uid, pod in list(self.pods.items()):
            if pod.record.deleting:
                del self.pods[uid]
                self._lose(uid)
            elif pod.record.phase == "Pending":
                self._change_pod(uid, phase="Running", ready=True, ready_since=self.now)
                self.pods[uid] = replace(self.pods[uid], has_answered=True, answers=True)

    def kill(self, index: int) -> None:
        """End one pod's process."""
        alive = [uid for uid, pod in sorted(self.pods.items()) if pod.is_live]
        if alive:
            uid = alive[index % len(alive)]
            self._change_pod(uid, phase="Failed", ready=False, exit_code=1)
            self.pods[uid] = replace(self.pods[uid], answers=False, runs=0)
            self._lose(uid)

    def _lose(self, uid: str) -> None:
        for run in self.runs:
            if run.pod == uid and run.is_open:
                run.pod, run.phase = None, "Pending"

    def new_run(self) -> Run:
        """A run is created, and pinned if the run loop knows of an active version (INV-5, INV-10)."""
        run = Run(f"run-{next(self._ids)}", self.now)
        self.runs.append(run)
        self.place()
        return run

    def place(self) -> None:
        """Pin and assign what can be."""
        for run in self.runs:
            if run.is_open and run.version is None and self.view is not None and not self.view.is_deleting:
                run.version = self.view.active_version
                if run.version is not None and run.version != self.status.active_version:
                    raise InvariantBrokenError(f"INV-5: {run.name} got {run.version}")
            if run.phase == "Pending" and run.version is not None:
                self._assign(run)

    def _assign(self, run: Run) -> None:
        fitting = [
            pod
            for pod in self.pods.values()
            if pod.record.version == run.version and pod.is_ready and not pod.is_closed and pod.runs < pod.capacity
        ]
        if fitting:
            pod = min(fitting, key=lambda each: (-each.runs, each.record.name))
            run.pod, run.phase = pod.record.uid, "Running"
            self._count_runs(pod.record.uid)

    def end_run(self, index: int) -> None:
        """One open run ends."""
        open_runs = [run for run in self.runs if run.is_open and run.version is not None]
        if open_runs:
            run = open_runs[index % len(open_runs)]
            pod, run.phase, run.pod = run.pod, "Ended", None
            self._count_runs(pod)
            self.ended_at[run.version or ""] = self.now

    def park_run(self, index: int) -> None:
        """One running run parks."""
        running = [run for run in self.runs if run.phase == "Running"]
        if running:
            run = running[index % len(running)]
            pod, run.phase, run.pod = run.pod, "Parked", None
            self._count_runs(pod)

    def _count_runs(self, uid: str | None) -> None:
        if uid is not None and uid in self.pods:
            runs = sum(run.pod == uid for run in self.runs)
            since = None if runs else self.now
            self.pods[uid] = replace(self.pods[uid], runs=runs, empty_since=since)

    def edit(self, version: str | None, **given: Any) -> None:
        """Apply another spec."""
        wanted = a_spec(version, **given)
        if wanted != self.spec:
            self.spec, self.generation = wanted, self.generation + 1

    def delete(self) -> None:
        """Delete the fleet."""
        self.is_deleting = True
        self.is_gone = not self.finalizers

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    @property
    def is_bare(self) -> bool:
        """Whether nothing of the fleet is left, in the cluster and in the run loop."""
        return (self.records, self.pods, self.view) == ({}, {}, None)

    def phases(self) -> dict[str, str]:
        """Phase of every version in the status."""
        return {each.name: each.phase for each in self.status.versions}

    def outline(self) -> dict[str, Any]:
        """The state without times and numbers: what a reverted spec must lead back to (INV-11)."""
        live = [naming.version_name(FLEET, pod.record.version) for pod in self.pods.values() if pod.is_live]
        status = self.status
        return {"active": status.active_version, "candidate": status.candidate_version, "pods": sorted(live)}
