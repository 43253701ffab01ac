"""Exact counts of runs per version, moved by one at each watched change."""

from collections import defaultdict

from pinfleet_operator.api.fleet import Counts
from pinfleet_operator.api.run import RunRecord

FleetKey = tuple[str, str]  # namespace, name of the fleet
VersionKey = tuple[str, str, str]  # namespace, name of the fleet, id of the version


class RunCounts:
    """Open runs of each version by phase, and those that have no version yet."""

    def __init__(self) -> None:
        self._open: defaultdict[VersionKey, dict[str, RunRecord]] = defaultdict(dict)
        self._parked: defaultdict[VersionKey, set[str]] = defaultdict(set)
        self._phases: defaultdict[VersionKey, dict[str, int]] = defaultdict(dict)
        self._unpinned: defaultdict[FleetKey, int] = defaultdict(int)

    def of(self, key: VersionKey) -> Counts:
        """Counts of one version; all zero if it has no open run."""
        runs = self._open.get(key)
        if not runs:
            return Counts()
        phases = self._phases[key]
        oldest = min(runs.values(), key=lambda run: (run.created_at, run.name))
        return Counts(
            open=len(runs),
            running=phases.get("Running", 0),
            parked=phases.get("Parked", 0),
            pending=phases.get("Pending", 0),
            held=phases.get("Held", 0),
            oldest_open_run=oldest.name,
            oldest_open_since=oldest.created_at,
        )

    def unpinned(self, key: FleetKey) -> int:
        """Open runs of a fleet without a version."""
        return self._unpinned.get(key, 0)

    def parked(self, key: VersionKey) -> frozenset[str]:
        """Uids of one version's parked runs."""
        return frozenset(self._parked.get(key, ()))

    def move(self, old: RunRecord | None, new: RunRecord | None) -> None:
        """Take `old` out of the counts and put `new` in; None: there is none."""
        if old is not None and old.is_open:
            self._out(old)
        if new is not None and new.is_open:
            self._in(new)

    def _in(self, run: RunRecord) -> None:
        if run.version is None:
            self._unpinned[(run.namespace, run.fleet)] += 1
            return
        key = (run.namespace, run.fleet, run.version)
        self._open[key][run.uid] = run
        self._phases[key][run.phase] = self._phases[key].get(run.phase, 0) + 1
        if run.phase == "Parked":
            self._parked[key].add(run.uid)

    def _out(self, run: RunRecord) -> None:
        if run.version is None:
            fleet = (run.namespace, run.fleet)
            self._unpinned[fleet] -= 1
            if not self._unpinned[fleet]:
                del self._unpinned[fleet]
            return
        key = (run.namespace, run.fleet, run.version)
        del self._open[key][run.uid]
        self._phases[key][run.phase] -= 1
        self._parked[key].discard(run.uid)
        if not self._open[key]:
            for index in (self._open, self._parked, self._phases):
                index.pop(key, None)
