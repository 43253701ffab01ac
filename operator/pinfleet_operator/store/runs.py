"""AgentRuns in the store: what the watch showed, and answers of our own writes that are ahead of it."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime

from pinfleet_operator.api.run import RunRecord
from pinfleet_operator.store.counts import RunCounts, VersionKey


class Runs:
    """A reflector's sink for AgentRuns; see the module's words."""

    def __init__(self, *, lower_may_replace: bool = False) -> None:
        self.is_synced = False
        self.watched_resource_version = 0
        self.counts = RunCounts()
        self.on_count: list[Callable[[RunRecord | None, RunRecord | None], None]] = []  # the watched sequence moved
        self.on_change: list[Callable[[RunRecord | None, RunRecord | None], None]] = []
        self._watched: dict[str, RunRecord] = {}
        self._ahead: dict[str, RunRecord] = {}
        self._assigned: defaultdict[str, set[str]] = defaultdict(set)  # pod uid -> run uids
        self._newest_open: dict[VersionKey, int] = {}
        self._lower_may_replace = lower_may_replace

    def get(self, uid: str) -> RunRecord | None:
        """The newest that is known of a run."""
        return self._ahead.get(uid) or self._watched.get(uid)

    def all(self) -> Iterable[RunRecord]:
        """Every run, the newest that is known of each."""
        for uid, run in self._watched.items():
            yield self._ahead.get(uid, run)

    def assigned_to(self, pod_uid: str) -> frozenset[str]:
        """Uids of the runs whose newest record is Running on the pod."""
        return frozenset(self._assigned.get(pod_uid, ()))

    def newest_open(self, key: VersionKey) -> int:
        """Highest resourceVersion at which a run of the version was seen open; 0: never."""
        return self._newest_open.get(key, 0)

    def forget_version(self, key: VersionKey) -> None:
        """The version's object is gone, and with it what was confirmed about it."""
        self._newest_open.pop(key, None)

    def put_answer(self, run: RunRecord) -> None:
        """Take a run from the answer of our own write or GET; a lower resourceVersion than known is ignored."""
        known = self.get(run.uid)
        watched = self._watched.get(run.uid)
        if watched is None or (known is not None and known.resource_version >= run.resource_version):
            return
        self._ahead[run.uid] = run
        self._changed(known, run)

    # The reflector's side, in stream order

    def upsert(self, run: RunRecord, resource_version: str) -> None:
        """A run was added or changed."""
        self.watched_resource_version = max(self.watched_resource_version, int(resource_version))
        self._put_watched(run)

    def remove(self, run: RunRecord, resource_version: str) -> None:
        """A run is gone."""
        self.watched_resource_version = max(self.watched_resource_version, int(resource_version))
        self._drop(run.uid)

    def replace(self, runs: list[RunRecord], resource_version: str) -> None:
        """A whole list, as of `resource_version`; whatever is not in it is gone."""
        self.watched_resource_version = int(resource_version)
        present = {run.uid for run in runs}
        for uid in [uid for uid in self._watched if uid not in present]:
            self._drop(uid)
        for run in runs:
            self._put_watched(run)
        self.is_synced = True

    def bookmark(self, resource_version: str) -> None:
        """Nothing changed up to `resource_version`."""
        self.watched_resource_version = max(self.watched_resource_version, int(resource_version))

    def _put_watched(self, run: RunRecord) -> None:
        known = self.get(run.uid)
        self._count(self._watched.get(run.uid), run)
        self._watched[run.uid] = run
        ahead = self._ahead.get(run.uid)
        if ahead is not None and (ahead.resource_version <= run.resource_version or self._lower_may_replace):
            del self._ahead[run.uid]
        if known is None or known.resource_version < run.resource_version or self._lower_may_replace:
            self._changed(known, run)

    def _drop(self, uid: str) -> None:
        known = self.get(uid)
        self._ahead.pop(uid, None)
        watched = self._watched.pop(uid, None)
        self._count(watched, None)
        if known is not None:
            self._changed(known, None)

    def _count(self, old: RunRecord | None, new: RunRecord | None) -> None:
        self.counts.move(old, new)
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
        if new is not None and new.is_open and new.version:
            key = (new.namespace, new.fleet, new.version)
            self._newest_open[key] = max(self._newest_open.get(key, 0), new.resource_version)
        for listener in self.on_change:
            listener(old, new)


def is_due(run: RunRecord, now: datetime) -> bool:
    """Whether a wait of the run has come to its time."""
    return any(wait.until is not None and wait.until <= now for wait in run.waiting_for)
