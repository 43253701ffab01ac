"""A run's waits, and whether all of its code is known to wait.

The root and the children of gather and map are known; a task of the author's own is not, and keeps the run on its pod.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pinfleet import clock
from pinfleet.identity import StepKey, wait_id
from pinfleet.journal.interface import Batch, WaitRow
from pinfleet.position import Position
from pinfleet.stepping import place_of
from pinfleet.wire import WAIT_ID_LIMIT, WAITS_LIMIT, Wait

if TYPE_CHECKING:
    from pinfleet.runtime import Execution

_CODE: Final = "code"
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_NOTHING: Final = b"{}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a wait says of itself, beside its row."""

    name: str = ""  # "": the row's
    who: str = ""  # who may decide
    is_ready: Callable[[], bool] = lambda: False  # whether what is waited for is there
    shown: Callable[[], bytes | None] = lambda: None  # JSON object for people


@dataclass(frozen=True, slots=True)
class _Open:
    """A wait that somebody awaits in this process."""

    row: WaitRow
    asked: Asked
    fired: "asyncio.Future[None]"

    def wire(self) -> Wait:
        """Return how the wait is listed."""
        row = self.row
        return Wait(
            id=wait_id(row.key), kind=row.kind, name=(self.asked.name or row.key.name)[:WAIT_ID_LIMIT],
            until=row.until, since=row.since, hash=row.request_hash, who=self.asked.who[:WAIT_ID_LIMIT],
            shown=msgspec.Raw(self.asked.shown() or row.shown or _NOTHING),
        )  # fmt: skip


class Waiting:
    """The waits of one execution.

    Args:
        execution: Whose waits they are.
    """

    def __init__(self, execution: "Execution") -> None:
        self._execution = execution
        self._known: dict[asyncio.Task[Any], Callable[[], bool]] = {}  # ctx tasks -> whether it goes on
        self._open: dict[StepKey, _Open] = {}
        self._watched: dict[StepKey, ExitStack] = {}
        self._fired: set[str] = set()

    # -- the code's side -----------------------------------------------------------------------------------------

    async def sleep(self, length: timedelta) -> None:
        """Wait until the time is over; recorded when it begins, and, with the next commit, when it ends."""
        run = self._execution
        position = place_of(run, "ctx.sleep")
        with run.identities.held(position.scope, "ctx.sleep") as key, position.crossing():
            row = await self.begin(position, key, "Timer", length)
            if row.answer is not None:
                return
            await self.until(position, row, Asked())
            run.handle.later(wait=replace(row, answer=b'"fired"', answered=clock.now().wall))

    async def begin(
        self, position: Position, key: StepKey, kind: Any, length: timedelta | None, **more: Any
    ) -> WaitRow:
        """Return a wait's row; a new one is committed first."""
        run = self._execution
        await run.boundary(position)
        row = run.record.wait(key)
        if row is None:
            await run.gate(position)
            since = clock.now().wall
            row = WaitRow(key=key, kind=kind, since=since, until=since + length if length is not None else None)
            row = replace(row, **{name: make(row) for name, make in more.items()})
            await run.handle.commit(Batch(waits=(row,)))
        return row

    async def until(self, position: Position, row: WaitRow, asked: Asked) -> bool:
        """Return True once what is waited for is there, False once the time is over by this clock or by an offer."""
        while True:
            if asked.is_ready():
                return True
            if self._is_due(row):
                return False
            await self._execution.gate(position)
            fired: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            with self._opened(_Open(row, asked, fired)), self.blocked(fired.done):
                await fired
            await self._execution.gate(position)

    def watch(self, row: WaitRow, expire: Callable[[], None]) -> None:
        """List a timer that nobody awaits, until ``forget``; ``expire`` is called once it is due.

        One that is due keeps the run from parking until the code inside has heard of it.
        """
        fired: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        opened = self._watched[row.key] = ExitStack()
        opened.enter_context(self._opened(_Open(row, Asked(), fired)))
        fired.add_done_callback(lambda _: expire())
        self.look()

    def forget(self, key: StepKey) -> None:
        """A watched timer no longer counts."""
        if key in self._watched:
            self._watched.pop(key).close()

    @contextmanager
    def _opened(self, wait: _Open) -> Iterator[None]:
        left = _seconds_left(wait.row, clock.now().wall)
        due = (wait_id(wait.row.key),)
        timer = asyncio.get_running_loop().call_later(left, self.fire, due) if wait.row.until else None
        self._open[wait.row.key] = wait
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
            self._open.pop(wait.row.key, None)

    # -- what comes from outside ---------------------------------------------------------------------------------

    def fire(self, ids: tuple[str, ...]) -> None:
        """Fire the timers that an offer names."""
        self._fired.update(ids)
        self.look()

    def look(self) -> None:
        """End the waits whose time is over, or for which something came."""
        for wait in list(self._open.values()):
            if (self._is_due(wait.row) or wait.asked.is_ready()) and not wait.fired.done():
                wait.fired.set_result(None)

    def _is_due(self, row: WaitRow) -> bool:
        """Whether its time is over, by this clock or by an offer that names it (rule 15)."""
        return _seconds_left(row, clock.now().wall) <= 0 or wait_id(row.key) in self._fired

    # -- who waits -----------------------------------------------------------------------------------------------

    def add(self, task: "asyncio.Task[Any]") -> None:
        """Know a task: the root, or a child of gather or map."""
        self._known[task] = _runs
        task.add_done_callback(self._gone)

    def _gone(self, task: "asyncio.Task[Any]") -> None:
        self._known.pop(task, None)
        if not task.cancelled():
            task.exception()  # seen by who awaits it, or ignored once the run has stopped
        self._execution.settle()
        self._execution.slot.check_idle()

    @property
    def is_all_blocked(self) -> bool:
        """Whether all known code waits for something that the runtime knows."""
        return not any(goes_on() for goes_on in self._known.values())

    @property
    def tasks(self) -> tuple["asyncio.Task[Any]", ...]:
        """The known tasks that have not ended."""
        return tuple(self._known)

    def knows(self, task: "asyncio.Task[Any] | None") -> bool:
        """Whether the runtime cancels this task itself."""
        return task in self._known

    @contextmanager
    def blocked(self, goes_on: Callable[[], bool]) -> Iterator[None]:
        """The calling task waits for something that the runtime knows.

        Args:
            goes_on: Whether what it waits for is there. The task hears of it some turns of the loop later; a run that
                parked in between would leave it asleep.
        """
        task = asyncio.current_task()
        if task not in self._known:
            self._execution.settle()
            yield
            return
        self._known[task] = goes_on
        self._execution.settle()
        try:
            yield
        finally:
            if task in self._known:
                self._known[task] = _runs

    def may_park(self, now: datetime, park_after_seconds: float) -> bool:
        """Whether all known code waits, for long enough that giving the pod back is worth it."""
        if not self._open or not self.is_all_blocked or any(wait.fired.done() for wait in self._open.values()):
            return False
        return min(_seconds_left(wait.row, now) for wait in self._open.values()) >= park_after_seconds

    def listed(self) -> tuple[Wait, ...]:
        """What the run waits for, as the wire says it: of more waits than it has room for, those that are due first.

        The others are in the journal all the same, and are listed once those have fired.
        """
        run = self._execution
        is_busy = run.in_flight or run.handle.committing or not run.quiet.is_now
        is_code = not is_busy and not self.is_all_blocked
        opened = list(self._open.values())
        if len(opened) > WAITS_LIMIT - is_code:
            opened = sorted(opened, key=lambda wait: (wait.row.until or _NEVER, wait.row.key))[: WAITS_LIMIT - is_code]
        waits = [wait.wire() for wait in sorted(opened, key=lambda wait: wait.row.key)]
        if waits and is_code:
            waits.append(Wait(id=_CODE, kind="Code", name="code outside ctx"))
        return tuple(waits)


def _runs() -> bool:
    return True


def _seconds_left(row: WaitRow, now: datetime) -> float:
    return (row.until - now).total_seconds() if row.until else float("inf")
