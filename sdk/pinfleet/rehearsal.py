"""A run's code against a run's journal, with execution off: does it go on, and with what?

Recorded steps are read, code outside of steps runs, and whatever would begin anew is held: no step's body, no tool, no
commit. The code may belong to another version than the rows: that is what is asked.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from pinfleet import children
from pinfleet.agent import Agent
from pinfleet.bodies import NOT_RECORDED
from pinfleet.errors import Fenced, Incompatible, describe
from pinfleet.identity import StepKey
from pinfleet.journal.handle import RunHandle
from pinfleet.journal.interface import Batch, History, StepRow
from pinfleet.position import Position
from pinfleet.record import Record
from pinfleet.reports import Assignment, Ended, Place, Progress
from pinfleet.rules import ALL
from pinfleet.runtime import Execution

_LOOK_SECONDS: Final = 0.01
_STILL_LOOKS: Final = 3
_LEAVING_SECONDS: Final = 2.0
_MANY: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a rehearsal."""

    kind: Literal["goes on", "migrates", "ends", "incompatible"]
    read: int  # recorded steps that the code asked for
    why: str  # with what it goes on, how it ends, or why it cannot


class Rehearsal(Execution):
    """One execution that begins nothing.

    Args:
        agent: Whose code it is.
        uid: The run's: what people were asked is bound to it.
        name: The run's, for messages.
        given: JSON text of the run's input; of a run that restarted it is not used.
        history: What the journal holds of its newest segment.
        on_read: Hears of each recorded step as the code asks for it; True holds the code there.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        uid: str,
        name: str,
        given: bytes,
        history: History,
        on_read: Callable[[StepRow], bool] = lambda _: False,
    ) -> None:
        assignment = Assignment(uid=uid, name=name, epoch=0, input=given, max_steps=_MANY)
        place = Place("rehearsal", "rehearsal", 0.0, 0.0, ALL)
        super().__init__(agent, assignment, _Shut(name), history, place, _Deaf())
        self.record = _Heard(history, self, on_read)
        self._begins: dict[StepKey, None] = {}  # in the order in which they were asked for
        self.is_held = False

    async def rehearse(self, seconds: float = 10.0) -> Verdict:
        """Run the code until it ends, or all of it is held.

        Args:
            seconds: What code outside of steps gets, such as a call of its own to something slow.
        """
        root = children.start(self, self._main(), Position(self, ""))
        deadline, still = time.monotonic() + seconds, 0
        while not root.done() and self._stop is None and still < _STILL_LOOKS and time.monotonic() < deadline:
            await asyncio.sleep(_LOOK_SECONDS)
            still = still + 1 if self.waiting.is_all_blocked else 0
        verdict = self._verdict(root)
        self._close(Fenced)
        self._cancel_code()
        self.slot.cancel()
        with contextlib.suppress(TimeoutError):  # code that cannot be stopped must not hold up the run itself
            async with asyncio.timeout(_LEAVING_SECONDS):
                await self.slot.until_free(self.assignment.uid)
        return verdict

    async def gate(self, position: Position) -> None:
        """Hold what would begin anew."""
        await super().gate(position)
        self._begins.update(dict.fromkeys(self.identities.open_in(position.scope)))
        with self.waiting.blocked(lambda: False):
            await asyncio.Event().wait()

    async def boundary(self, position: Position) -> None:
        """Hold everything once the step to stop at was read."""
        await super().boundary(position)
        if self.is_held:
            with self.waiting.blocked(lambda: False):
                await asyncio.Event().wait()

    def _settle(self) -> None:
        """Nothing parks, drains or is reported here."""

    def _verdict(self, root: "asyncio.Task[Any]") -> Verdict:
        left = self.record.unread
        read = len(self.record.history.steps) - len(left)
        if self._stop is not None and self._stop.error is not None:
            return Verdict("incompatible", read, str(self._stop.error))
        error = None if not root.done() or root.cancelled() else root.exception()
        if isinstance(error, (Incompatible, *NOT_RECORDED)):
            return Verdict("incompatible", read, ": ".join(describe(error)))
        if left and not self.is_held:
            return Verdict("incompatible", read, self._leftover(left[0], root))
        if root.done():
            how = "succeeded" if error is None else "failed, {}: {}".format(*describe(error))
            return Verdict("ends", read, f"with the next commit: {how}")
        following = ", ".join(str(key) for key in self._begins)
        return Verdict("goes on", read, f"with {following}" if following else "once what it waits for is there")

    def _leftover(self, key: StepKey, root: "asyncio.Task[Any]") -> str:
        """Say which recorded step the code never asked for, what it did instead, and what to write."""
        row = self.record.history.steps[key]
        asks = [str(each) for each in self._begins]
        instead = f"asks for {', '.join(asks)}" if asks else "ends before it" if root.done() else "does not come to it"
        text = f'run {self.assignment.name} recorded {row.kind} "{key.name}" #{key.n} on {row.version}; '
        text += f"this code {instead}"
        others = sorted(set(self.agent.steps) - {each.name for each in self.record.history.steps})
        if key.name not in self.agent.steps and others:
            text += f" and has {', '.join(others)}. It stays on {row.version}; if it was renamed, add "
            return text + f'agent.renamed("{key.name}", to="{others[0]}")'
        return f"{text}. It stays on {row.version}"


class _Heard(Record):
    """A record that says what is read of it."""

    def __init__(self, history: History, rehearsal: Rehearsal, on_read: Callable[[StepRow], bool]) -> None:
        super().__init__(history, ALL, rehearsal.agent.renames)
        self._rehearsal, self._on_read = rehearsal, on_read

    def step(self, key: StepKey) -> StepRow | None:
        """Return the step's row, if it has one."""
        row = super().step(key)
        if row is not None and self._on_read(row):
            self._rehearsal.is_held = True
        return row


class _Shut(RunHandle):
    """A hold on no journal."""

    def __init__(self, run: str) -> None:
        self._closed = None
        self._kept = Batch()
        self.run, self.epoch, self.steps, self.tokens, self.committing = run, 0, 0, 0, 0
        self.max_steps, self.max_tokens = _MANY, None
        self.on_fenced = lambda _: None

    async def commit(self, batch: Batch, *, closing: bool = False) -> None:
        """Nothing is committed: whoever comes here passed a gate that holds everything."""
        raise AssertionError(f"a rehearsal commits nothing: {batch} (closing: {closing})")


class _Deaf:
    """Hears nothing."""

    def progressed(self, uid: str, epoch: int, progress: Progress) -> None:
        """Nothing listens."""

    def ended(self, ended: Ended) -> None:
        """Nothing listens."""

    def stopped(self, uid: str) -> None:
        """Nothing listens."""
