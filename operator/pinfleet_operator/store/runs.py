"""AgentRuns in the store: what the watch showed, and answers of our own writes that are ahead of it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from pinfleet_operator.api.run import Kept, RunRecord, pack, unpack
from pinfleet_operator.store.counts import RunCounts, VersionKey
from pinfleet_operator.store.timers import Timers


class Runs:
    """A reflector's sink for AgentRuns; see the module's words."""

    def __init__(self, *, lower_may_replace: bool = False) -> None:
        self.is_synced = False
        self.watched_resource_version = 0
        self.counts, self.timers = RunCounts(self._watched_record), Timers(self._watched_record)
        self.on_count: list[Callable[[RunRecord | None, RunRecord | None], None]] = []  # the watched sequence moved
        self.on_change: list[Callable[[RunRecord | None, RunRecord | None], None]] = []
        self._watched: dict[str, bytes] = {}  # uid -> the record, packed
        self._ahead: dict[str, RunRecord] = {}
        self._assigned: defaultdict[str, set[str]] = defaultdict(set)  # pod uid -> run uids
        self._newest_open: dict[VersionKey, int] = {}
        self._newest_awake: dict[VersionKey, int] = {}
        self._alone: defaultdict[VersionKey, set[str]] = defaultdict(set)  # uids of open runs that share no pod
        self._lower_may_replace = lower_may_replace

    def get(self, uid: str) -> RunRecord | None:
        """The newest that is known of a run."""
        return self._ahead.get(uid) or self._watched_record(uid)

    def all(self) -> Iterable[RunRecord]:
        """Every run, the newest that is known of each."""
        for uid, packed in self._watched.items():
            yield self._ahead.get(uid) or unpack(uid, packed)

    def assigned_to(self, pod_uid: str) -> frozenset[str]:
        """Uids of the runs whose newest record is Running on the pod."""
        return frozenset(self._assigned.get(pod_uid, ()))

    def alone(self, key: VersionKey) -> frozenset[str]:
        """Uids of a version's open runs that go on a pod of their own (rule 17)."""
        return frozenset(self._alone.get(key, ()))

    def newest_open(self, key: VersionKey) -> int:
        """Highest resourceVersion at which a run of the version was seen open; 0: never."""
        return self._newest_open.get(key, 0)

    def newest_awake(self, key: VersionKey) -> int:
        """Highest resourceVersion at which a run of the version was seen awake; 0: never."""
        return self._newest_awake.get(key, 0)

    def forget_version(self, key: VersionKey) -> None:
        """The version's object is gone, and with it what was confirmed about it."""
        self._newest_open.pop(key, None)
        self._newest_awake.pop(key, None)

    def put_answer(self, run: RunRecord) -> None:
        """Take a run from the answer of our own write or GET; a lower resourceVersion than known is ignored."""
        known = self.get(run.uid)
        if run.uid not in self._watched or (known is not None and known.resource_version >= run.resource_version):
            return
        self._ahead[run.uid] = run
        self._changed(known, run)

    # The reflector's side, in stream order

    def upsert(self, item: Kept | RunRecord, resource_version: str) -> None:
        """A run was added or changed."""
        self.watched_resource_version = max(self.watched_resource_version, int(resource_version))
        self._put_watched(item)

    def remove(self, item: Kept | RunRecord, resource_version: str) -> None:
        """A run is gone."""
        self.watched_resource_version = max(self.watched_resource_version, int(resource_version))
        self._drop(item.uid)

    def replace(self, items: Sequence[Kept | RunRecord], resource_version: str) -> None:
        """A whole list, as of `resource_version`; whatever is not in it is gone."""
        self.watched_resource_version = int(resource_version)
        present = {item.uid for item in items} if self._watched else set[str]()
        for uid in [uid for uid in self._watched if uid not in present]:
            self._drop(uid)
        for item in items:
            self._put_watched(item)
        self.is_synced = True

    def bookmark(self, resource_version: str) -> None:
        """Nothing changed up to `resource_version`."""
        self.watched_resource_version = max(self.watched_resource_version, int(resource_version))

    def _watched_record(self, uid: str) -> RunRecord | None:
        packed = self._watched.get(uid)
        return unpack(uid, packed) if packed is not None else None

    def _put_watched(self, item: Kept | RunRecord) -> None:
        kept = item if isinstance(item, Kept) else pack(item)
        run = unpack(*kept)
        known, watched = self.get(run.uid), self._watched_record(run.uid)
        self._watched[run.uid] = kept.packed
        self._count(watched, run)
        ahead = self._ahead.get(run.uid)
        if ahead is not None and (ahead.resource_version <= run.resource_version or self._lower_may_replace):
            del self._ahead[run.uid]
        if known is None or known.resource_version < run.resource_version or self._lower_may_replace:
            self._changed(known, run)

    def _drop(self, uid: str) -> None:
        known = self.get(uid)
        self._ahead.pop(uid, None)
        watched = self._watched.pop(uid, None)
        self._count(unpack(uid, watched) if watched is not None else None, None)
        if known is not None:
            self._changed(known, None)

    def _count(self, old: RunRecord | None, new: RunRecord | None) -> None:
        self.counts.move(old, new)
        self.timers.move(old, new)
        for listener in self.on_count:
            listener(old, new)

    def _changed(self, old: RunRecord | None, new: RunRecord | None) -> None:
        if old is not None and old.phase == "Running" and old.pod_uid:
            held = self._assigned[old.pod_uid]
            held.discard(old.uid)
            if not held:
                del self._assigned[old.pod_uid]
        if new is not None and new.phase == "Running" and new.pod_uid:
            self._assigned[new.pod_uid].add(new.uid)
        self._note_alone(old, new)
        if new is not None and new.is_open and new.version:
            key = (new.namespace, new.fleet, new.version)
            self._newest_open[key] = max(self._newest_open.get(key, 0), new.resource_version)
            if new.is_awake:
                self._newest_awake[key] = max(self._newest_awake.get(key, 0), new.resource_version)
        for listener in self.on_change:
            listener(old, new)

    def _note_alone(self, old: RunRecord | None, new: RunRecord | None) -> None:
        if old is not None and old.goes_alone and old.version:
            key = (old.namespace, old.fleet, old.version)
            self._alone[key].discard(old.uid)
            if not self._alone[key]:
                del self._alone[key]
        if new is not None and new.goes_alone and new.is_open and new.version:
            self._alone[new.namespace, new.fleet, new.version].add(new.uid)
