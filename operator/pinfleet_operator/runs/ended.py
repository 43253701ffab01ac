"""Ended runs per fleet, in the order of their ends: which of them are more than the fleet keeps."""

from bisect import bisect_left, insort
from collections import defaultdict
from datetime import datetime

from pinfleet_operator.api.run import RunRecord
from pinfleet_operator.store import FleetKey, Store


class EndedRuns:
    """The ended runs of each fleet that may be deleted for their number."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ended: defaultdict[FleetKey, list[tuple[datetime, str]]] = defaultdict(list)

    def add(self, run: RunRecord) -> None:
        """Take a run that has ended; one that git tracks is never deleted for its number."""
        if run.ended_at is None or run.gitops:
            return
        ended, entry = self._ended[(run.namespace, run.fleet)], (run.ended_at, run.uid)
        at = bisect_left(ended, entry)
        if at == len(ended) or ended[at] != entry:
            insort(ended, entry)

    def remove(self, run: RunRecord) -> None:
        """Forget a run that is gone."""
        if run.ended_at is None:
            return
        key, entry = (run.namespace, run.fleet), (run.ended_at, run.uid)
        ended = self._ended.get(key, [])
        at = bisect_left(ended, entry)
        if at < len(ended) and ended[at] == entry:
            del ended[at]
            if not ended:
                del self._ended[key]

    def of(self, key: FleetKey) -> tuple[str, ...]:
        """Uids of the fleet's ended runs, those that ended first."""
        return tuple(uid for _, uid in self._ended.get(key, ()))

    def surplus(self, key: FleetKey) -> tuple[str, ...]:
        """Uids of the runs beyond ``endedRunsLimit``, those that ended first."""
        return tuple(uid for _, uid in self._ended.get(key, [])[: self._excess(key)])

    def is_surplus(self, run: RunRecord) -> bool:
        """Whether the run is one too many."""
        key = (run.namespace, run.fleet)
        excess = self._excess(key)
        return excess > 0 and run.ended_at is not None and (run.ended_at, run.uid) <= self._ended[key][excess - 1]

    def _excess(self, key: FleetKey) -> int:
        fleet = self._store.catalog.get(key)
        return max(0, len(self._ended.get(key, ())) - fleet.ended_runs_limit) if fleet else 0
