"""An event loop whose clock jumps to the next timer when nothing is ready: hours pass in milliseconds."""

import asyncio
import itertools
import selectors
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


TURN_SECONDS = 1e-9
"""What a turn of the loop takes: a timer that fires early by the clock's resolution would never see its time."""


MOST_TURNS = 20_000
"""At one moment; some hundred is much."""


class DeadlockError(Exception):
    """Every task waits and no timer is set: in a simulation that is a lost wake-up."""


class LivelockError(Exception):
    """So many turns without a moment between them: whoever asks for them would keep a processor busy for ever."""


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for time to pass, lets it have passed. No simulation reads a socket: it asks no kernel."""

    loop: "VirtualLoop"
    _busy_turns = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        """Move the clock by what would have been waited."""
        if timeout is None:
            raise DeadlockError
        self._busy_turns = 0 if timeout else self._busy_turns + 1
        if self._busy_turns > MOST_TURNS:
            self._busy_turns = 0
            raise LivelockError
        self.loop.advance(TURN_SECONDS + timeout)
        return []


class NumberedTask(asyncio.Task[Any]):
    """A task that is hashed by its number: sets of tasks are cancelled in an order that no address decides."""

    def __init__(self, coro: Coroutine[Any, Any, Any], *, loop: "VirtualLoop", **options: Any) -> None:
        self._number = next(loop.numbers)
        super().__init__(coro, loop=loop, **options)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop with virtual time, starting at 0."""

    def __init__(self) -> None:
        selector = _JumpingSelector()
        selector.loop = self
        self._virtual = 0.0
        self.numbers = itertools.count()
        super().__init__(selector)

    def time(self) -> float:
        """Virtual seconds since the loop began."""
        return self._virtual

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._virtual += seconds

    def _write_to_self(self) -> None:
        """There is one thread: nobody has to be woken."""


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class VirtualClock:
    """The clock of one party: virtual time plus its own error."""

    def __init__(self, *, ahead_seconds: float = 0.0) -> None:
        self.ahead_seconds = ahead_seconds

    def now(self) -> datetime:
        """This party's idea of the time."""
        return EPOCH + timedelta(seconds=asyncio.get_running_loop().time() + self.ahead_seconds)

    def boottime(self) -> float:
        """Seconds that only ever rise."""
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
