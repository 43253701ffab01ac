"""Where the code that runs now stands: which run, which scope, inside which step.

A context variable carries it, so it follows tasks and the SDK's own threads, and nothing else: a bare thread or an
executor has none.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pinfleet.errors import OutsideRun, RunStopped

if TYPE_CHECKING:
    from pinfleet.identity import StepKey
    from pinfleet.runtime import Execution
    from pinfleet.timeouts import Timeout


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a run's code."""

    execution: "Execution"
    scope: str
    step: "StepKey | None" = None  # the step whose body runs here
    timeouts: tuple["Timeout", ...] = ()  # of ctx.timeout, the outermost first

    @contextmanager
    def crossing(self) -> Iterator[None]:
        """Tell the timeouts around when what is recorded inside them was given to the code."""
        try:
            yield
        except (asyncio.CancelledError, RunStopped, GeneratorExit):
            raise
        except BaseException:
            self._crossed()
            raise
        self._crossed()

    def _crossed(self) -> None:
        for timeout in self.timeouts:
            timeout.crossed()


POSITION: Final[ContextVar[Position | None]] = ContextVar("pinfleet_position", default=None)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What code may know of the execution that it runs in; read-only."""

    uid: str  # of the run
    name: str  # of the run
    version: str  # that this pod serves
    epoch: int  # of this assignment
    pod_uid: str
    step: str | None  # identity of the step whose body asks, such as ``research#3``


def current() -> RunInfo:
    """Return the run that the calling code belongs to.

    Raises:
        OutsideRun: It belongs to none.
    """
    position = POSITION.get()
    if position is None:
        raise OutsideRun("no run here: this code was not called by a run, or lost its context in a bare thread")
    run = position.execution
    return RunInfo(
        uid=run.assignment.uid,
        name=run.assignment.name,
        version=run.place.version,
        epoch=run.handle.epoch,
        pod_uid=run.place.pod_uid,
        step=str(position.step) if position.step else None,
    )


class _Process:
    """Whether this process serves runs; then a step without a run is a mistake, and not a plain call."""

    serves = False


PROCESS: Final = _Process()
