"""A run's waits, and whether all of its code is known to wait.

The root and the children of gather and map are known; a task of the author's own is not, and keeps the run on its pod.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from pinfleet import clock
from pinfleet.errors import NestedStep
from pinfleet.identity import StepKey, wait_id
from pinfleet.journal.interface import Batch, WaitRow
from pinfleet.position import Position
from pinfleet.wire import WAITS_LIMIT, Wait

if TYPE_CHECKING:
    from pinfleet.runtime import Execution

_CODE: Final = "code"
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Open:
    """A wait that somebody awaits in this process."""

    row: WaitRow
    fired: "asyncio.Future[None]"


class Waiting:
    """The waits of one execution.

    Args:
        execution: Whose waits they are.
    """

    def __init__(self, execution: "Execution") -> None:
        self._execution = execution
        self._known: dict[asyncio.Task[Any], bool] = {}  # ctx tasks -> whether it waits
        self._open: dict[StepKey, _Open] = {}
        self._fired: set[str] = set()

    # -- the code's side -----------------------------------------------------------------------------------------

    async def sleep(self, position: Position, length: timedelta) -> None:
        """Wait until the time is over; recorded when it begins, and, with the next commit, when it ends."""
        run = self._execution
        if position.step is not None:
            raise NestedStep(f"ctx.sleep inside step {position.step}: a step cannot wait")
        run.handle.require_open()
        key = run.identities.begin(position.scope, "ctx.sleep")
        try:
            row = run.recorded_wait(key)
            if row is None:
                await run.gate()
                since = clock.now().wall
                row = WaitRow(key=key, kind="Timer", since=since, until=since + length)
                await run.handle.commit(Batch(waits=(row,)))
            if row.answer is not None:
                return
            await self._until_due(row)
            run.handle.later(wait=replace(row, answer=b'"fired"', answered=clock.now().wall))
        finally:
            run.identities.finish(key)

    async def _until_due(self, row: WaitRow) -> None:
        """Return when the timer is due by this clock, or by an offer that names it (rule 15)."""
        left = _seconds_left(row, clock.now().wall)
        if left <= 0 or wait_id(row.key) in self._fired:
            return
        loop = asyncio.get_running_loop()
        fired: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(left, _set, fired)
        self._open[row.key] = _Open(row, fired)
        try:
            with self.blocked():
                await fired
        finally:
            timer.cancel()
            del self._open[row.key]
        await self._execution.gate()

    def fire(self, ids: tuple[str, ...]) -> None:
        """Fire the timers that an offer names."""
        self._fired.update(ids)
        for wait in list(self._open.values()):
            if wait_id(wait.row.key) in self._fired:
                _set(wait.fired)

    # -- who waits -----------------------------------------------------------------------------------------------

    def add(self, task: "asyncio.Task[Any]") -> None:
        """Know a task: the root, or a child of gather or map."""
        self._known[task] = False
        task.add_done_callback(self._gone)

    def _gone(self, task: "asyncio.Task[Any]") -> None:
        self._known.pop(task, None)
        if not task.cancelled():
            task.exception()  # seen by who awaits it, or ignored once the run has stopped
        self._execution.settle()
        self._execution.slot.check_idle()

    @property
    def tasks(self) -> tuple["asyncio.Task[Any]", ...]:
        """The known tasks that have not ended."""
        return tuple(self._known)

    def knows(self, task: "asyncio.Task[Any] | None") -> bool:
        """Whether the runtime cancels this task itself."""
        return task in self._known

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """The calling task waits for something that the runtime knows."""
        task = asyncio.current_task()
        if task not in self._known:
            self._execution.settle()
            yield
            return
        self._known[task] = True
        self._execution.settle()
        try:
            yield
        finally:
            if task in self._known:
                self._known[task] = False

    def may_park(self, now: datetime, park_after_seconds: float) -> bool:
        """Whether all known code waits, for long enough that giving the pod back is worth it."""
        if not self._open or not all(self._known.values()) or any(wait.fired.done() for wait in self._open.values()):
            return False
        return min(_seconds_left(wait.row, now) for wait in self._open.values()) >= park_after_seconds

    def listed(self) -> tuple[Wait, ...]:
        """What the run waits for, as the wire says it: of more waits than it has room for, those that are due first.

        The others are in the journal all the same, and are listed once those have fired.
        """
        is_code = not all(self._known.values()) and not self._execution.in_flight
        rows = [wait.row for wait in self._open.values()]
        if len(rows) > WAITS_LIMIT - is_code:
            rows = sorted(rows, key=lambda row: (row.until or _NEVER, row.key))[: WAITS_LIMIT - is_code]
        waits = [
            Wait(id=wait_id(row.key), kind="Timer", name=row.key.name, until=row.until, since=row.since)
            for row in sorted(rows, key=lambda row: row.key)
        ]
        if waits and is_code:
            waits.append(Wait(id=_CODE, kind="Code", name="code outside ctx"))
        return tuple(waits)


def _seconds_left(row: WaitRow, now: datetime) -> float:
    return (row.until - now).total_seconds() if row.until else float("inf")


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
