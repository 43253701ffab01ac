"""``Ctx``: what a run's code asks of the runtime.

Everything here that could differ between two executions is recorded, so that a replay takes the same path.
"""

import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID, uuid4

from pinfleet import children, clock, stepping
from pinfleet.identity import child_scope
from pinfleet.position import POSITION, Position, RunInfo, current

if TYPE_CHECKING:
    from pinfleet.runtime import Execution

T = TypeVar("T")
R = TypeVar("R")


class Ctx:
    """One run, seen from its code.

    Args:
        execution: The execution that this code belongs to.
    """

    def __init__(self, execution: "Execution") -> None:
        self._execution = execution

    @property
    def run(self) -> RunInfo:
        """Uid and name of the run, version, epoch and pod; read-only."""
        return current()

    @property
    def replaying(self) -> bool:
        """Whether recorded steps are still being read; code outside steps runs again then, and logs again."""
        return self._execution.is_replaying

    async def sleep(self, duration: timedelta | float) -> None:
        """Wait; a long wait parks the run, which then has no pod.

        Args:
            duration: Length of time, or seconds.
        """
        length = duration if isinstance(duration, timedelta) else timedelta(seconds=duration)
        await self._execution.waiting.sleep(self._position, length)

    @contextmanager
    def branch(self, key: str) -> Iterator[None]:
        """Give the steps inside a scope of their own, so that they may overlap with others.

        Args:
            key: Names the branch; it must be the same on every execution.
        """
        here = self._position
        token = POSITION.set(Position(here.execution, child_scope(here.scope, key), here.step))
        try:
            yield
        finally:
            POSITION.reset(token)

    async def gather(self, *calls: Awaitable[Any]) -> list[Any]:
        """Run calls side by side, each in a scope of its own, and return their values in order.

        All of them end first; then the error of the first failed one, by position, is raised: the same on every replay.
        """
        return await children.gather(self._execution, self._position, "gather", list(calls), limit=None)

    async def map(
        self, function: Callable[[T], Awaitable[R]], items: Iterable[T], *, limit: int | None = None
    ) -> list[R]:
        """Call a function for every item side by side; otherwise as ``gather``.

        Args:
            function: Async; may take several steps.
            items: In an order that is the same on every execution.
            limit: Most calls at once.
        """
        calls = [_later(function, item) for item in items]
        return await children.gather(self._execution, self._position, "map", calls, limit=limit)

    def now(self) -> datetime:
        """Return the time, UTC; recorded."""
        return stepping.value(self._execution, self._position, "ctx.now", lambda: clock.now().wall, datetime)

    def random(self) -> float:
        """Return a random number in [0, 1); recorded."""
        return stepping.value(self._execution, self._position, "ctx.random", random.SystemRandom().random, float)

    def uuid(self) -> UUID:
        """Return a random uuid; recorded before the next step begins, so it may serve as an idempotency key there."""
        return stepping.value(self._execution, self._position, "ctx.uuid", uuid4, UUID)

    def on_cancel(self, function: Callable[[], Awaitable[None]]) -> None:
        """Register a compensation that runs once the cancel of this run is recorded, last one first.

        It runs at most once, within the cancel grace, outside the journal: it cannot take steps.
        """
        self._execution.compensations.append(function)

    @property
    def _position(self) -> Position:
        here = POSITION.get()
        return here if here is not None else Position(self._execution, "")


async def _later(function: Callable[[T], Awaitable[R]], item: T) -> R:
    """Call only once the child has its scope."""
    return await function(item)
