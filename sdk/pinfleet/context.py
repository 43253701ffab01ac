"""``Ctx``: what a run's code asks of the runtime.

Everything here that could differ between two executions is recorded, so that a replay takes the same path.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from pinfleet.lazy import Lazy
from pinfleet.position import POSITION, Position, RunInfo, current

if TYPE_CHECKING:
    import random
    import uuid
    from uuid import UUID

    from pinfleet import children, clock, identity, people, segments, stepping, timeouts
    from pinfleet.runtime import Execution
else:
    random, uuid = Lazy("random"), Lazy("uuid")
    children, clock, identity = Lazy("pinfleet.children"), Lazy("pinfleet.clock"), Lazy("pinfleet.identity")
    people, segments = Lazy("pinfleet.people"), Lazy("pinfleet.segments")
    stepping, timeouts = Lazy("pinfleet.stepping"), Lazy("pinfleet.timeouts")

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
        return self._execution.record.is_replaying

    async def sleep(self, duration: timedelta | float) -> None:
        """Wait; a long wait parks the run, which then has no pod.

        Args:
            duration: Length of time, or seconds.
        """
        length = duration if isinstance(duration, timedelta) else timedelta(seconds=duration)
        await self._execution.waiting.sleep(length)

    async def receive(self, kind: type[T], *, within: timedelta | None = None) -> T:
        """Return the next message of a type; the run parks until it comes.

        A message that fits neither this type nor another that the agent declares is refused, visibly in the run's
        status and log, and the wait goes on.

        Args:
            kind: A dataclass, msgspec or pydantic type, or plain JSON's.
            within: How long to wait; None: for ever.

        Raises:
            Expired: No message came in time.
        """
        value: T = await self._execution.inbox.receive(kind, within)
        return value

    async def approve(
        self, what: str, *, show: Mapping[str, object], within: timedelta | None = None, who: str = ""
    ) -> "people.Approval":
        """Ask a person; the run parks until one decides.

        Args:
            what: Names the request; it must be the same on every execution.
            show: What the person sees, and what the decision is bound to.
            within: How long the person has; None: for ever.
            who: Who may decide, in words for people.

        Raises:
            Denied: A person said no.
            Expired: Nobody decided in time.
        """
        return await people.approve(self._execution, what, show, within, who)

    def timeout(self, length: timedelta | float) -> "timeouts.Timeout":
        """Bound the code inside ``async with``, as ``asyncio.timeout`` does; its expiry is recorded.

        Args:
            length: From when it is first entered, over pods and parking; a length of time, or seconds.
        """
        duration = length if isinstance(length, timedelta) else timedelta(seconds=length)
        return timeouts.Timeout(self._execution, self._position, duration)

    async def restart(self, state: object) -> NoReturn:
        """Begin the run's main again with another input, and an empty history; it does not return.

        Bounds go on, and so do messages that nobody took. For agents that talk for ever: a replay reads the new
        segment alone.

        Args:
            state: What main gets as its input from here on.
        """
        await segments.restart(self._execution, state)
        raise AssertionError("the run goes on in its next segment")

    def partial(self, value: object) -> None:
        """Keep what the run leaves should it hit a limit; durable with the next step. The newest one counts."""
        segments.keep_partial(self._execution, value)

    def emit(self, value: object) -> None:
        """Tell who watches this execution, best effort: nothing is recorded, and a replay may say it again."""
        self._execution.emit(value)

    @property
    def tokens(self) -> int:
        """Tokens that recorded steps used, by their ``tokens=`` hooks; over all executions of the run."""
        return self._execution.handle.tokens

    @contextmanager
    def branch(self, key: str) -> Iterator[None]:
        """Give the steps inside a scope of their own, so that they may overlap with others.

        Args:
            key: Names the branch; it must be the same on every execution.
        """
        here = self._position
        token = POSITION.set(replace(here, scope=identity.child_scope(here.scope, key)))
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

    def uuid(self) -> "UUID":
        """Return a random uuid; recorded before the next step begins, so it may serve as an idempotency key there."""
        return stepping.value(self._execution, self._position, "ctx.uuid", uuid.uuid4, uuid.UUID)

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
