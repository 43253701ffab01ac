"""Which pods of a version have free slots, in the order of placement, kept up to date pod by pod.

Caller: `runs.situate`. A run's pass asks this several times; reading every pod of the version each time costs more than
all else in the pass. What changed is only noted; a pod is read again when somebody asks.
"""

from bisect import bisect_left, insort
from collections import defaultdict

from pinfleet_operator.api.child import PodRecord, VersionRecord
from pinfleet_operator.api.run import RunRecord
from pinfleet_operator.runs.place import Seat, rank
from pinfleet_operator.store import Store, VersionKey

STALE_LIMIT = 10_000  # a standby is never asked; it must not collect the uids of all pods that ever were

Ranked = tuple[tuple[int, str], str]  # rank, pod uid


class Seats:
    """An index over the store; it holds nothing that reading the store would not give."""

    def __init__(self, store: Store, *, has_rule_17: bool = True) -> None:
        self._store, self._has_rule_17 = store, has_rule_17
        self._stale: set[str] = set()  # uids of pods that changed since they were read
        self._seats: dict[str, tuple[VersionKey, Seat, int]] = {}  # pods with free slots, and how many
        self._ranked: defaultdict[VersionKey, list[Ranked]] = defaultdict(list)
        self._free: defaultdict[VersionKey, int] = defaultdict(int)
        store.pods.on_change.append(self._pod_changed)
        store.versions.on_change.append(self._version_changed)
        store.runs.on_change.append(self._run_changed)
        store.on_slots.append(self._note)
        self._stale.update(pod.uid for pod in store.pods.all())

    def best(self, key: VersionKey) -> list[Seat]:
        """The seat that `place` would choose among all of a version's, alone; empty if none is free."""
        self._read_stale()
        ranked = self._ranked.get(key)
        return [self._seats[ranked[0][1]][1]] if ranked else []

    def empty(self, key: VersionKey) -> list[Seat]:
        """The last in the order, alone, which holds no run if any pod of the version does; empty if none is free."""
        self._read_stale()
        ranked = self._ranked.get(key)
        return [self._seats[ranked[-1][1]][1]] if ranked else []

    def free(self, key: VersionKey) -> int:
        """Free slots of a version."""
        self._read_stale()
        return self._free.get(key, 0)

    def _note(self, pod_uid: str) -> None:
        self._stale.add(pod_uid)
        if len(self._stale) > STALE_LIMIT:
            self._read_stale()

    def _read_stale(self) -> None:
        while self._stale:
            uid = self._stale.pop()
            self._drop(uid)
            pod = self._store.pods.get(uid)
            version = self._store.versions.get(pod.version_uid) if pod is not None else None
            if pod is not None and version is not None and pod.namespace == version.namespace:
                self._take((version.namespace, version.fleet, version.id), self._read(pod, version))

    def _read(self, pod: PodRecord, version: VersionRecord) -> Seat:
        return Seat(
            pod=pod,
            version=version.id,
            mirror=self._store.mirror(pod.uid),
            taken=self._store.runs_on(pod.uid),
            runs_per_pod=version.runs_per_pod,
            is_closed=pod.uid in self._store.closed,
            is_taken_alone=self._has_rule_17 and self._store.is_taken_alone(pod.uid),
        )

    def _take(self, key: VersionKey, seat: Seat) -> None:
        free = seat.free
        if free == 0:
            return
        self._seats[seat.pod.uid] = (key, seat, free)
        insort(self._ranked[key], (rank(seat), seat.pod.uid))
        self._free[key] += free

    def _drop(self, uid: str) -> None:
        known = self._seats.pop(uid, None)
        if known is None:
            return
        key, seat, free = known
        ranked = self._ranked[key]
        del ranked[bisect_left(ranked, (rank(seat), uid))]
        self._free[key] -= free
        if not ranked:
            del self._ranked[key], self._free[key]

    # What makes a pod's seat stale; of the mirrors, ``Dispatch.on_pod`` tells

    def _pod_changed(self, old: PodRecord | None, new: PodRecord | None) -> None:
        pod = new or old
        if pod is not None:
            self._note(pod.uid)

    def _version_changed(self, old: VersionRecord | None, new: VersionRecord | None) -> None:
        version = new or old
        if version is not None:
            for pod in self._store.pods.of(version.uid):
                self._note(pod.uid)

    def _run_changed(self, old: RunRecord | None, new: RunRecord | None) -> None:
        for run in (old, new):
            if run is not None and run.pod_uid:
                self._note(run.pod_uid)
