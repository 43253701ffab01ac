"""Exact counts of runs per version, moved by one at each watched change."""

import heapq
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from typing import Final

from pinfleet_operator.api.fleet import Counts
from pinfleet_operator.api.run import RunRecord

FleetKey = tuple[str, str]  # namespace, name of the fleet
VersionKey = tuple[str, str, str]  # namespace, name of the fleet, id of the version

Age = tuple[datetime, str, str]  # creation, name, uid
ELDERS: Final = 64  # so many of the oldest runs are known by name: all are looked through once for as many ends


class _Version:
    """What is known of one version's open runs; records stay with who has them, this holds uids."""

    def __init__(self) -> None:
        self.open: dict[str, None] = {}  # uids; a set of them would take several times as much
        self.phases: dict[str, int] = {}
        self.elders: list[Age] = []  # the oldest, in order; every open run beside them is younger than the last


class RunCounts:
    """Open runs of each version by phase, and those that have no version yet."""

    def __init__(self, record_of: Callable[[str], RunRecord | None]) -> None:
        """Count nothing yet.

        Args:
            record_of: the record that was last counted for a uid.
        """
        self._record_of = record_of
        self._versions: dict[VersionKey, _Version] = {}
        self._unpinned: defaultdict[FleetKey, int] = defaultdict(int)

    def of(self, key: VersionKey) -> Counts:
        """Counts of one version; all zero if it has no open run."""
        version = self._versions.get(key)
        if version is None:
            return Counts()
        if not version.elders:
            version.elders = heapq.nsmallest(ELDERS, (age(run) for run in self._records(version)))
        since, name, _ = version.elders[0]
        phases = version.phases
        return Counts(
            open=len(version.open),
            running=phases.get("Running", 0),
            parked=phases.get("Parked", 0),
            pending=phases.get("Pending", 0),
            held=phases.get("Held", 0),
            oldest_open_run=name,
            oldest_open_since=since,
        )

    def open_of(self, fleet: FleetKey) -> list[str]:
        """Uids of a fleet's open runs that have a version."""
        return [uid for key, version in self._versions.items() if key[:2] == fleet for uid in version.open]

    def unpinned(self, key: FleetKey) -> int:
        """Open runs of a fleet without a version."""
        return self._unpinned.get(key, 0)

    def move(self, old: RunRecord | None, new: RunRecord | None) -> None:
        """Take `old` out of the counts and put `new` in; None: there is none."""
        if old is not None and old.is_open:
            self._out(old)
        if new is not None and new.is_open:
            self._in(new)

    def _records(self, version: _Version) -> list[RunRecord]:
        found = (self._record_of(uid) for uid in version.open)
        return [run for run in found if run is not None]

    def _in(self, run: RunRecord) -> None:
        if run.version is None:
            self._unpinned[(run.namespace, run.fleet)] += 1
            return
        version = self._versions.setdefault((run.namespace, run.fleet, run.version), _Version())
        if not version.open:
            version.elders = [age(run)]
        elif version.elders and age(run) < version.elders[-1]:
            insort(version.elders, age(run))
        version.open[run.uid] = None
        version.phases[run.phase] = version.phases.get(run.phase, 0) + 1

    def _out(self, run: RunRecord) -> None:
        if run.version is None:
            fleet = (run.namespace, run.fleet)
            self._unpinned[fleet] -= 1
            if not self._unpinned[fleet]:
                del self._unpinned[fleet]
            return
        key = (run.namespace, run.fleet, run.version)
        version = self._versions[key]
        del version.open[run.uid]
        version.phases[run.phase] -= 1
        at = bisect_left(version.elders, age(run))
        if at < len(version.elders) and version.elders[at] == age(run):
            del version.elders[at]
        if not version.open:
            del self._versions[key]


def age(run: RunRecord) -> Age:
    """The order of runs by age; those of one second by name."""
    return (run.created_at, run.name, run.uid)
