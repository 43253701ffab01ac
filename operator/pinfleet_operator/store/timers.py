"""Which parked runs of a version are to be woken: for a timer, or a message that they have not seen.

Asking costs what came due since, not what is parked.
"""

import heapq
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from pinfleet_operator.api.run import RunRecord
from pinfleet_operator.store.counts import VersionKey

SLACK: Final = 64  # void entries that a heap may hold beside as many as are parked


class _Version:
    """The waits of one version's parked runs."""

    def __init__(self) -> None:
        self.parked = 0
        self.later: list[tuple[float, str]] = []  # heap: when a run's first timer is due, its uid; some are void
        self.due: set[str] = set()


class Timers:
    """The waits of parked runs, by version."""

    def __init__(self, record_of: Callable[[str], RunRecord | None]) -> None:
        """Know of no run yet.

        Args:
            record_of: the record that came last for a uid.
        """
        self._record_of = record_of
        self._versions: dict[VersionKey, _Version] = {}

    def due(self, key: VersionKey, now: datetime) -> frozenset[str]:
        """Uids of the parked runs that have a timer due, or a message."""
        version = self._versions.get(key)
        if version is None:
            return frozenset()
        until = now.timestamp()
        while version.later and version.later[0][0] <= until:
            entry = heapq.heappop(version.later)
            if self._holds(key, entry):
                version.due.add(entry[1])
        return frozenset(version.due)

    def next_at(self, key: VersionKey) -> datetime | None:
        """When the first timer is due of those that `due` has not named; None: there is none."""
        version = self._versions.get(key)
        while version is not None and version.later:
            if self._holds(key, version.later[0]) and version.later[0][1] not in version.due:
                return datetime.fromtimestamp(version.later[0][0], UTC)
            heapq.heappop(version.later)
        return None

    def move(self, old: RunRecord | None, new: RunRecord | None) -> None:
        """Take `old` out and put `new` in; None: there is none."""
        if old is not None and (key := _key(old)) is not None:
            self._out(key, old.uid)
        if new is not None and (key := _key(new)) is not None:
            self._in(key, new)

    def _in(self, key: VersionKey, run: RunRecord) -> None:
        version = self._versions.setdefault(key, _Version())
        version.parked += 1
        if run.messages > run.messages_seen:
            version.due.add(run.uid)
            return
        at = _first(run)
        if at is None:
            return
        heapq.heappush(version.later, (at, run.uid))
        if len(version.later) > 2 * version.parked + SLACK:
            version.later = sorted({entry for entry in version.later if self._holds(key, entry)})

    def _out(self, key: VersionKey, uid: str) -> None:
        version = self._versions[key]
        version.parked -= 1
        version.due.discard(uid)
        if not version.parked:
            del self._versions[key]

    def _holds(self, key: VersionKey, entry: tuple[float, str]) -> bool:
        """Whether an entry still says what its run waits for."""
        run = self._record_of(entry[1])
        return run is not None and _key(run) == key and _first(run) == entry[0]


def _key(run: RunRecord) -> VersionKey | None:
    """The version of a parked run; None: it is not parked."""
    if run.phase != "Parked" or run.version is None:
        return None
    return (run.namespace, run.fleet, run.version)


def _first(run: RunRecord) -> float | None:
    """When the first of a run's timers is due; None: it has none."""
    return min((wait.until.timestamp() for wait in run.waiting_for if wait.until is not None), default=None)
