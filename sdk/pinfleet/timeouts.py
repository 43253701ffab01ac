"""``ctx.timeout``: a bound on a part of the run's code that expires at the same place on every execution.

Its time is counted from when it was first entered, over pods and parking. When it expires it notes how many steps and
waits inside had been given to the code: a replay gives it just those, then cancels it.
"""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from pinfleet import clock
from pinfleet.journal.interface import WaitRow
from pinfleet.position import POSITION, Position

if TYPE_CHECKING:
    from pinfleet.runtime import Execution

NAME: Final = "ctx.timeout"
_PASSED: Final = b'"passed"'


class Timeout:
    """One use of ``ctx.timeout``; raises TimeoutError when it expires, as ``asyncio.timeout`` does.

    Args:
        run: Whose code it bounds.
        position: Where it is entered.
        length: How long the code inside may take.
    """

    def __init__(self, run: "Execution", position: Position, length: timedelta) -> None:
        self._run = run
        self._position = position
        self._key = run.identities.next(position.scope, NAME)
        found = run.record.wait(self._key)
        now = clock.now().wall
        self._is_new = found is None
        self._row = found or WaitRow(key=self._key, kind="Timer", since=now, until=now + length)
        self._given = 0  # steps and waits inside that the code was given
        self._expires_at: int | None = None  # at so many of them, says the record
        self._ends_well = False  # says the record
        if self._row.answer is not None:
            answer = json.loads(self._row.answer)
            self._ends_well = answer == "passed"
            self._expires_at = answer["expired"] if isinstance(answer, dict) else None
        self._scope = asyncio.timeout(None)
        self._is_counting = False

    async def __aenter__(self) -> Self:
        self._token = POSITION.set(replace(self._position, timeouts=(*self._position.timeouts, self)))
        await self._scope.__aenter__()
        if self._is_new:
            self._run.handle.later(wait=self._row)
        if self._is_new or not self._run.record.is_replaying:
            self.count()
        else:
            self._run.record.when_live(self.count)
        self._expire_if_recorded()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        POSITION.reset(self._token)
        self._run.waiting.forget(self._key)
        answer = _PASSED
        try:
            await self._scope.__aexit__(kind, error, trace)
        except TimeoutError:
            answer = json.dumps({"expired": self._given}).encode()
            raise
        finally:
            if self._row.answer is None and not self._run.is_stopping and not self._run.handle.is_closed:
                self._run.handle.later(wait=replace(self._row, answer=answer, answered=clock.now().wall))

    @property
    def is_over(self) -> bool:
        """Whether nothing more may begin inside."""
        return self._scope.when() is not None

    @property
    def is_recorded(self) -> bool:
        """Whether the record says that it expired: all that happened inside is recorded."""
        return self._expires_at is not None

    def count(self) -> None:
        """The code inside does what nobody has recorded: let the time run from now."""
        if self._is_counting or self._row.answer is not None:
            return
        self._is_counting = True
        self._run.waiting.watch(self._row, self.expire)

    def crossed(self) -> None:
        """One more step or wait inside was given to the code."""
        self._given += 1
        self._expire_if_recorded()

    def expire(self) -> None:
        """Cancel the code inside."""
        if not self._scope.expired() and self._scope.when() is None:
            self._scope.reschedule(asyncio.get_running_loop().time())

    def _expire_if_recorded(self) -> None:
        if self._expires_at is not None and self._given >= self._expires_at:
            self.expire()
