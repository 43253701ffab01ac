"""Who waits for a slot, and in which order: the run that was created first goes first."""

import heapq
from collections import defaultdict
from datetime import datetime

from pinfleet_operator.store import FleetKey, VersionKey

Line = tuple[VersionKey, bool]
"""Who waits for a slot of a version, and, apart from them, who waits for a pod of its own (rule 17)."""


class Waiters:
    """Runs that wait for a slot of a version, or for their fleet."""

    def __init__(self) -> None:
        self._slots: defaultdict[Line, list[tuple[datetime, str]]] = defaultdict(list)
        self._queued: dict[str, Line] = {}
        self._fleets: defaultdict[FleetKey, set[str]] = defaultdict(set)

    def wait_for_slot(self, line: Line, created_at: datetime, uid: str) -> None:
        """Note that the run could go to a pod of this version, were there a slot."""
        if self._queued.get(uid) != line:
            self._queued[uid] = line
            heapq.heappush(self._slots[line], (created_at, uid))

    def wait_for_fleet(self, key: FleetKey, uid: str) -> None:
        """Note that the run is on no pod and depends on what its fleet says."""
        self._fleets[key].add(uid)

    def forget(self, fleet: FleetKey, uid: str) -> None:
        """The run waits no longer."""
        self._queued.pop(uid, None)
        waiting = self._fleets.get(fleet)
        if waiting is not None:
            waiting.discard(uid)
            if not waiting:
                del self._fleets[fleet]

    def has_any(self, line: Line) -> bool:
        """Whether some run may wait in this line."""
        return line in self._slots

    def next_for(self, line: Line, slots: int) -> list[str]:
        """The runs that are to try for this many free slots."""
        heap, chosen = self._slots.get(line), list[str]()
        while heap and len(chosen) < slots:
            _, uid = heapq.heappop(heap)
            if self._queued.get(uid) == line:
                del self._queued[uid]
                chosen.append(uid)
        if heap is not None and not heap:
            del self._slots[line]
        return chosen

    def of_fleet(self, key: FleetKey) -> tuple[str, ...]:
        """Every run that waits for a word of this fleet."""
        return tuple(self._fleets.get(key, ()))
