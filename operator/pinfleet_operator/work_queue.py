"""A queue of keys for level-triggered work: each key once, never twice at the same time, now or at a time.

Both loops use it: the fleets' passes and the runs'. It knows no domain.
"""

import asyncio
import heapq
import math
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

VOID_SHARE, SLACK = 1.25, 64  # the heap of times may hold so many entries for each key, and some more


class WorkQueue(Generic[K]):
    """Deduplicating keys; a key added while it is worked on is worked on again afterwards."""

    def __init__(self) -> None:
        self._ready: deque[K] = deque()
        self._queued: set[K] = set()
        self._active: set[K] = set()
        self._dirty: set[K] = set()
        self._later: list[tuple[float, K]] = []  # heap of loop times
        self._due: dict[K, float] = {}  # earliest loop time per key; older heap entries are void
        self._idle: deque[asyncio.Future[None]] = deque()  # workers that wait, each for one key
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf  # the first of the times; uvloop's handle of a time that has come knows none
        self._clock: Callable[[], float] | None = None  # the running loop's, kept: asking for the loop is a system call

    def __len__(self) -> int:
        return len(self._queued) + len(self._active)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is queued, worked on, or waiting for a time."""
        return not self._queued and not self._active and not self._due

    def add(self, key: K) -> None:
        """Work on the key as soon as a worker is free."""
        if key in self._active:
            self._dirty.add(key)
            return
        if key not in self._queued:
            self._queued.add(key)
            self._ready.append(key)
            self._wake_one()

    def add_after(self, key: K, seconds: float) -> None:
        """Work on the key in `seconds`, unless an earlier time is set for it already."""
        at = self._time() + max(0.0, seconds)
        if self._due.get(key, at + 1) <= at:
            return
        self._due[key] = at
        heapq.heappush(self._later, (at, key))
        if len(self._later) > VOID_SHARE * len(self._due) + SLACK:
            self._later = [(at, key) for key, at in self._due.items()]
            heapq.heapify(self._later)
        self._set_timer()

    async def get(self) -> K:
        """The next key; it is the caller's until `done`."""
        self._promote()
        while not self._ready:
            turn = asyncio.get_running_loop().create_future()
            self._idle.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._wake_one()  # the key that this worker was woken for is another's
                raise
        key = self._ready.popleft()
        self._queued.discard(key)
        if not self._queued:
            self._queued = set()  # it would keep the room that a burst of keys took
        self._active.add(key)
        self._due.pop(key, None)
        return key

    def done(self, key: K) -> None:
        """The pass over the key is over."""
        self._active.discard(key)
        if key in self._dirty:
            self._dirty.discard(key)
            self.add(key)

    def _wake_one(self) -> None:
        """One worker for one key: to wake all of them for each is what a pass costs many times over."""
        while self._idle:
            turn = self._idle.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _promote(self) -> None:
        now = self._time()
        while self._later and self._later[0][0] <= now:
            at, key = heapq.heappop(self._later)
            if self._due.get(key) == at:
                del self._due[key]
                self.add(key)

    def _set_timer(self) -> None:
        """Be called at the first time that is set, if that is sooner than the call that is due."""
        if not self._later:
            return
        at = self._later[0][0]
        if self._timer_at <= at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = asyncio.get_running_loop().call_at(at, self._ring), at

    def _ring(self) -> None:
        self._timer, self._timer_at = None, math.inf
        self._promote()
        self._set_timer()

    def _time(self) -> float:
        if self._clock is None:
            self._clock = asyncio.get_running_loop().time
        return self._clock()
