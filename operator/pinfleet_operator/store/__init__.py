"""The operator's memory: runs, versions, pods and what the pods say, with the indexes that make every question O(1).

The reflectors fill it in stream order; the answers of our own writes go in too, and the higher resourceVersion wins
(rule 16). Counts come from the watched sequence alone, so that they equal a LIST at ``watched_resource_version``. It
holds no inputs and no results, decides nothing and does no I/O.
"""

from collections.abc import Callable
from datetime import datetime

from pinfleet_operator.api.child import PodRecord, VersionRecord, decode_pod, decode_version
from pinfleet_operator.api.fleet import Counts, FleetView
from pinfleet_operator.api.mirror import PodMirror
from pinfleet_operator.api.run import RunRecord
from pinfleet_operator.store.approvals import Approvals
from pinfleet_operator.store.counts import FleetKey, VersionKey
from pinfleet_operator.store.flights import Flights
from pinfleet_operator.store.objects import Objects
from pinfleet_operator.store.runs import Runs

LOST_PODS_KEPT = 10_000  # tombstones: enough for every run that may still name one of them


class Store:
    """All of the operator's memory; see the module's words."""

    def __init__(self, *, lower_may_replace: bool = False) -> None:
        """Make an empty store.

        Args:
            lower_may_replace: take rule 16 out; for a test's negative control alone.
        """
        self.runs = Runs(lower_may_replace=lower_may_replace)
        self.pods: Objects[PodRecord] = Objects(lambda pod: pod.version_uid)
        self.versions: Objects[VersionRecord] = Objects(lambda version: (version.namespace, version.fleet))
        self.approvals = Approvals()
        self.catalog: dict[FleetKey, FleetView] = {}
        self.closed: set[str] = set()  # uids of pods that get no more runs, though not cordoned yet
        self.lost_pods: dict[str, PodRecord] = {}  # last sight of pods that are gone
        self.pods.on_change.append(self._bury)
        self.versions.on_change.append(self._forget_version)
        self.on_fleet: list[Callable[[FleetKey], None]] = []  # the catalog or its pinning changed
        self.on_want: list[Callable[[VersionKey], None]] = []  # a run of the version needs a slot, and there is none
        self.on_slots: list[Callable[[str], None]] = []  # slots of the pod with this uid may have been taken or freed
        self._mirrors: dict[str, PodMirror] = {}
        self._pinning_closed: set[FleetKey] = set()
        self._confirmed: dict[str, int] = {}  # version uid -> resourceVersion of the LIST that found no open run
        self._asleep: dict[str, int] = {}  # likewise, of the LIST that found every open run parked or held
        self.flights = Flights(self.slots_changed)

    # Versions and pods

    def versions_of(self, namespace: str, fleet: str) -> tuple[VersionRecord, ...]:
        """The fleet's versions, by revision, then id."""
        return tuple(sorted(self.versions.of((namespace, fleet)), key=lambda v: (v.revision, v.id)))

    def pods_of(self, version_uid: str) -> tuple[PodRecord, ...]:
        """The version's pods, by name.

        A pod of another namespace that names the version as its owner is none: it would get its runs and its token.
        """
        version = self.versions.get(version_uid)
        mine = (pod for pod in self.pods.of(version_uid) if version is not None and pod.namespace == version.namespace)
        return tuple(sorted(mine, key=lambda pod: pod.name))

    def put_pod(self, raw: bytes) -> PodRecord:
        """Take a pod from the answer of our own write."""
        return self.pods.put(decode_pod(raw))

    def put_version(self, raw: bytes) -> VersionRecord:
        """Take a version from the answer of our own write."""
        return self.versions.put(decode_version(raw))

    def find_version(self, key: VersionKey) -> VersionRecord | None:
        """The version with this id."""
        namespace, fleet, version_id = key
        return next((v for v in self.versions.of((namespace, fleet)) if v.id == version_id), None)

    def is_gone(self, pod_uid: str) -> bool:
        """Whether no process of that pod can act any more: its object is gone or terminal."""
        pod = self.pods.get(pod_uid)
        return pod is None or pod.is_terminal

    def _bury(self, old: PodRecord | None, new: PodRecord | None) -> None:
        """A pod that has ended says nothing any more; one that is gone leaves its last sight."""
        if new is not None and new.is_terminal:
            self._mirrors.pop(new.uid, None)
        if new is not None or old is None:
            return
        self.lost_pods[old.uid] = old
        self._mirrors.pop(old.uid, None)
        self.closed.discard(old.uid)
        while len(self.lost_pods) > LOST_PODS_KEPT:
            del self.lost_pods[next(iter(self.lost_pods))]

    def _forget_version(self, old: VersionRecord | None, new: VersionRecord | None) -> None:
        if new is None and old is not None:
            self._confirmed.pop(old.uid, None)
            self._asleep.pop(old.uid, None)
            self.runs.forget_version((old.namespace, old.fleet, old.id))

    # What pods say

    def mirror(self, pod_uid: str) -> PodMirror | None:
        """What the pod last said; None: it has not answered yet."""
        return self._mirrors.get(pod_uid)

    def mirrors(self) -> tuple[PodMirror, ...]:
        """Every pod's mirror, by pod uid."""
        return tuple(self._mirrors[uid] for uid in sorted(self._mirrors))

    def set_mirror(self, mirror: PodMirror) -> None:
        """Begin a mirror for a pod, or for its new process."""
        self._mirrors[mirror.pod_uid] = mirror
        self.slots_changed(mirror.pod_uid)

    def reach(self) -> tuple[int, int]:
        """How many of all pods answer, and how many do not; those that never served are starting and do not count.

        A pod counts as unreachable from its first failed call: when our own network fails, polls notice it one after
        the other, and the first to be called lost must find the others in the same state (rule 6).
        """
        answering = unreachable = 0
        for mirror in self._mirrors.values():
            pod = self.pods.get(mirror.pod_uid)
            if pod is None or pod.is_terminal or pod.deleting:
                continue
            if mirror.failing_since is None:
                answering += 1
            elif mirror.has_answered or pod.ready or self.runs.assigned_to(pod.uid):
                unreachable += 1
        return answering, unreachable

    def runs_on(self, pod_uid: str) -> int:
        """Slots taken on a pod: runs assigned to it, on their way to it, or listed by it."""
        taken = set(self.runs.assigned_to(pod_uid))
        taken.update(flight.run_uid for flight in self.flights.all() if flight.pod_uid == pod_uid)
        mirror = self._mirrors.get(pod_uid)
        if mirror is not None:
            taken.update(mirror.runs)
        return len(taken)

    def is_taken_alone(self, pod_uid: str) -> bool:
        """Whether a run has the pod to itself, or is about to (rule 17)."""
        if any(flight.goes_alone and flight.pod_uid == pod_uid for flight in self.flights.all()):
            return True
        runs = (self.runs.get(uid) for uid in self.runs.assigned_to(pod_uid))
        return any(run is not None and run.goes_alone for run in runs)

    def has_alone_on_pod(self, key: VersionKey, besides: str) -> bool:
        """Whether a run of the version, other than `besides`, has a pod to itself: one at a time does."""
        flights = self.flights.all()
        if any(each.goes_alone and each.version == key and each.run_uid != besides for each in flights):
            return True
        runs = (self.runs.get(uid) for uid in self.runs.alone(key) if uid != besides)
        return any(
            run is not None and run.phase == "Running" and run.pod_uid and not self.is_gone(run.pod_uid) for run in runs
        )

    def close_pod(self, uid: str) -> None:
        """Keep new runs away from a pod that is to be removed."""
        self.closed.add(uid)
        self.slots_changed(uid)

    def reopen_pod(self, uid: str) -> None:
        """Let a pod have runs again that was to be removed."""
        self.closed.discard(uid)
        self.slots_changed(uid)

    def slots_changed(self, pod_uid: str) -> None:
        """Tell that slots of a pod may have been taken or freed beside the runs that the store itself sees change."""
        for listener in self.on_slots:
            listener(pod_uid)

    def slot_wanted(self, key: VersionKey) -> None:
        """Tell that a run needs a slot of the version, and that there is none."""
        for listener in self.on_want:
            listener(key)

    # Fleets

    def set_fleet(self, view: FleetView) -> None:
        """Take a fleet's new view from its pass."""
        key = (view.namespace, view.name)
        if self.catalog.get(key) != view:
            self.catalog[key] = view
            self._tell(key)

    def drop_fleet(self, namespace: str, name: str) -> None:
        """Forget a fleet that is gone."""
        if self.catalog.pop((namespace, name), None) is not None:
            self._tell((namespace, name))

    def close_pinning(self, namespace: str, name: str) -> None:
        """Stop pins of a fleet's new runs while a promote's outcome is unknown (rule 3)."""
        self._pinning_closed.add((namespace, name))

    def open_pinning(self, namespace: str, name: str, view: FleetView) -> None:
        """Let new runs be pinned again, by the view that now holds."""
        self._pinning_closed.discard((namespace, name))
        self.catalog[(namespace, name)] = view
        self._tell((namespace, name))

    def may_pin(self, key: FleetKey) -> bool:
        """Whether new runs of the fleet may be pinned now."""
        return key not in self._pinning_closed

    def _tell(self, key: FleetKey) -> None:
        for listener in self.on_fleet:
            listener(key)

    # Counts

    @property
    def watched_resource_version(self) -> str:
        """The resourceVersion at which the counts equal a LIST."""
        return str(self.runs.watched_resource_version)

    @property
    def is_synced(self) -> bool:
        """Whether runs, approvals, versions and pods have been listed whole at least once."""
        parts = (self.runs, self.approvals, self.pods, self.versions)
        return all(part.is_synced for part in parts)

    def counts(self, namespace: str, fleet: str, version_id: str) -> Counts:
        """Runs of one version by phase."""
        return self.runs.counts.of((namespace, fleet, version_id))

    def unpinned(self, namespace: str, fleet: str) -> int:
        """Open runs of a fleet that have no version yet."""
        return self.runs.counts.unpinned((namespace, fleet))

    def due(self, namespace: str, fleet: str, version_id: str, now: datetime) -> int:
        """Parked runs of one version that are to be woken: for a timer, a message or a decision."""
        key = (namespace, fleet, version_id)
        due = self.runs.timers.due(key, now)
        decided = (self.runs.get(uid) for uid in self.approvals.decided - due)
        parked = (run for run in decided if run is not None and run.phase == "Parked")
        mine = (run for run in parked if (run.namespace, run.fleet, run.version) == key)
        return len(due) + sum(self.approvals.wake(run) for run in mine)

    def alone(self, namespace: str, fleet: str, version_id: str, now: datetime) -> int:
        """Runs of one version that each need a pod of their own, now."""
        runs = (self.runs.get(uid) for uid in self.runs.alone((namespace, fleet, version_id)))
        return sum(1 for run in runs if run is not None and (run.phase in {"Running", "Pending"} or _is_due(run, now)))

    # Counting to zero (rule 7)

    def confirm_empty(self, version_uid: str, resource_version: int) -> None:
        """Note that a consistent LIST at `resource_version` found no open run of the version."""
        self._confirmed[version_uid] = resource_version

    def confirm_asleep(self, version_uid: str, resource_version: int) -> None:
        """Note that a consistent LIST at `resource_version` found every open run of the version parked or held."""
        self._asleep[version_uid] = resource_version

    def confirmed_asleep(self, version_uid: str) -> bool:
        """Whether such a LIST still holds: no run of the version was awake after it."""
        return self._still_holds(self._asleep, version_uid, self.runs.newest_awake)

    def confirmed_empty(self, version_uid: str) -> bool:
        """Whether such a LIST still holds: no run of the version was open after it."""
        return self._still_holds(self._confirmed, version_uid, self.runs.newest_open)

    def _still_holds(self, confirmed: dict[str, int], version_uid: str, newest: Callable[[VersionKey], int]) -> bool:
        version = self.versions.get(version_uid)
        at = confirmed.get(version_uid)
        if version is None or at is None:
            return False
        key = (version.namespace, version.fleet, version.id)
        in_flight = any(flight.version == key for flight in self.flights.all())
        if in_flight or newest(key) > at:
            del confirmed[version_uid]
            return False
        return True


def _is_due(run: RunRecord, now: datetime) -> bool:
    return run.phase == "Parked" and any(wait.until is not None and wait.until <= now for wait in run.waiting_for)


__all__ = ["FleetKey", "Runs", "Store", "VersionKey"]
