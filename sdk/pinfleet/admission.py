"""Whether a run goes on in this process, and what may begin there.

A stop is asked for once; from then on nothing begins. What may not begin is held: it never returns, and is cancelled
with the rest of the code. Nothing is raised for it that the author's code could swallow.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

from pinfleet.errors import Incompatible, RunStopped
from pinfleet.journal.handle import RunHandle
from pinfleet.journal.interface import Batch, CommitResult
from pinfleet.position import Position
from pinfleet.wire import EndReason, Wait


@dataclass(frozen=True, slots=True)
class Stop:
    """Why the runtime stops a run whose code has not ended."""

    kind: Literal["park", "drain", "cancel", "limit", "fenced", "incompatible", "restart"]
    reason: EndReason = "cancel"
    limit: Literal["steps", "tokens"] = "steps"  # which one is used up
    fence: CommitResult | None = None
    error: Incompatible | None = None
    batch: Batch = field(default_factory=Batch)  # what a restart commits
    waits: tuple[Wait, ...] = ()  # of a park: what the run waits for when that was decided


class Admission(ABC):
    """What may begin in one execution.

    Args:
        handle: The run's hold on the journal.
    """

    def __init__(self, handle: RunHandle) -> None:
        self.handle = handle
        self.in_flight = 0  # steps that execute now
        self._draining = False
        self._stop: Stop | None = None
        self._stop_asked = asyncio.Event()
        self._closed = asyncio.Event()
        self._previous_gone = asyncio.Event()

    @abstractmethod
    def settle(self) -> None:
        """Look, soon, whether the run now stops at a boundary or parks."""

    @abstractmethod
    def knows(self, task: "asyncio.Task[object] | None") -> bool:
        """Whether the runtime cancels this task itself."""

    @property
    def is_stopping(self) -> bool:
        """Whether the run is over here."""
        return self._stop is not None

    async def boundary(self, position: Position) -> None:
        """Return only if the timeouts around still let something begin, or be read."""
        if any(timeout.is_over for timeout in position.timeouts):
            await self.hold()

    async def gate(self, position: Position) -> None:
        """Return only while the run goes on: a drain or a stop is a boundary that nothing new crosses."""
        if self._draining or self._stop is not None:
            self.settle()
            await self.hold()
        for timeout in position.timeouts:
            timeout.count()
        if any(timeout.is_over or timeout.is_recorded for timeout in position.timeouts):
            await self.hold()

    @asynccontextmanager
    async def admitted(self, position: Position) -> AsyncIterator[None]:
        """Let a step execute, if the run's bounds allow one more."""
        await self.gate(position)
        if self.handle.max_tokens is not None and self.handle.tokens >= self.handle.max_tokens:
            self._ask(Stop("limit", limit="tokens"))
            await self.hold()
        if self.handle.steps + self.in_flight >= self.handle.max_steps:
            self.out_of_steps()
            await self.hold()
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1
            self.settle()

    def out_of_steps(self) -> None:
        """The run may take no more steps."""
        self._ask(Stop("limit"))

    async def hold(self) -> None:
        """Never return: known code is cancelled here, other code is told that the run stopped."""
        if not self.knows(asyncio.current_task()):
            await self._closed.wait()
            self.handle.require_open()
        await asyncio.Event().wait()

    async def incompatible(self, error: Incompatible) -> None:
        """Stop the run: it cannot go on with this code; never returns."""
        self._ask(Stop("incompatible", error=error))
        await self.hold()

    async def previous_gone(self, seconds: float) -> bool:
        """Wait until no process that had the run before can act; False if that is not known in time."""
        try:
            async with asyncio.timeout(seconds):
                await self._previous_gone.wait()
        except TimeoutError:
            return self._previous_gone.is_set()
        return True

    # -- inside --------------------------------------------------------------------------------------------------

    def _ask(self, stop: Stop) -> None:
        if self._stop is None:
            self._stop = stop
            self._stop_asked.set()

    def _close(self, reason: type[RunStopped]) -> None:
        self.handle.close(reason)
        self._stop = self._stop or Stop("fenced")
        self._closed.set()
