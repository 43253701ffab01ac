"""How messages travel between the parties: late, lost, lost on the way back, twice, or not at all while one sleeps."""

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")
MIN_DELAY = 0.001


@dataclass(frozen=True)
class Fault:
    """What befalls one call."""

    before_seconds: float = 0.0  # on the way there, beside the usual delay
    after_seconds: float = 0.0  # on the way back
    loses_request: bool = False  # it is never carried out
    loses_reply: bool = False  # it is carried out, its caller is not told
    repeats_after_seconds: float | None = None  # it is carried out once more, so much later


FINE = Fault()
Script = Callable[[str, str], Fault | None]
"""From verb and object of a call to what befalls it; None: nothing out of the ordinary."""


def no_script(_verb: str, _name: str) -> Fault | None:
    """Nothing out of the ordinary."""
    return None


@dataclass
class Odds:
    """Probabilities of faults, for random schedules; all zero: none."""

    loses_request: float = 0.0
    loses_reply: float = 0.0
    repeats: float = 0.0
    is_slow: float = 0.0  # a call takes up to `slow_seconds`
    is_late: float = 0.0  # its answer does
    slow_seconds: float = 4.0

    @property
    def is_fine(self) -> bool:
        """Whether nothing ever befalls a call."""
        return not (self.loses_request or self.loses_reply or self.repeats or self.is_slow or self.is_late)


@dataclass
class Net:
    """One party's way to others."""

    rng: random.Random
    error: type[Exception]  # what a caller gets who is not told
    delay_seconds: float = 0.002
    jitter_seconds: float = 0.0
    timeout_seconds: float = 5.0
    watch_lag_seconds: float = 0.0  # longest time that one event of a watch takes, beside the usual
    odds: Odds = field(default_factory=Odds)
    hot: dict[str, Odds] = field(default_factory=dict)  # of calls that fare otherwise, by verb
    is_cut: bool = False
    outlives: float = 0.0  # probability that what is under way when its sender dies is carried out all the same
    outlives_seconds: float = 30.0  # within so long: an API server ends a request after a minute
    script: Script = no_script

    def __post_init__(self) -> None:
        self.open_since = -math.inf  # virtual seconds, when it was last cut or mended; never yet
        self._awake = asyncio.Event()
        self._awake.set()
        self._late: set[asyncio.Task[None]] = set()

    def cut(self, *, is_cut: bool = True) -> None:
        """Nothing gets through, until it is mended."""
        self.is_cut, self.open_since = is_cut, asyncio.get_running_loop().time()

    def sleep(self) -> None:
        """The party stops: whatever it sends or gets from now on waits for `wake`."""
        self._awake.clear()

    def wake(self) -> None:
        """The party goes on where it stopped."""
        self._awake.set()

    @property
    def is_awake(self) -> bool:
        """Whether the party goes on."""
        return self._awake.is_set()

    async def gate(self) -> None:
        """Return once the party is awake."""
        await self._awake.wait()

    async def pause(self, extra_seconds: float = 0.0) -> None:
        """The usual delay of one way."""
        await asyncio.sleep(self.delay_seconds + self.rng.random() * self.jitter_seconds + extra_seconds)

    async def carry(
        self, verb: str, name: str, do: Callable[[], Awaitable[T]], *, timeout_seconds: float | None = None
    ) -> T:
        """Carry one call there and its answer back.

        Args:
            verb: of the call.
            name: of what it is about.
            do: carries it out at the other end.
            timeout_seconds: after which the caller gives up; None: the usual.
        """
        limit = timeout_seconds or self.timeout_seconds
        fault = self.script(verb, name) or self._random(self.hot.get(verb, self.odds))
        await self.gate()  # a party may fall asleep between its decision and the call
        if self.is_cut or fault.loses_request:
            await asyncio.sleep(limit)
            raise self.error(f"cannot {verb} {name}: no answer")
        if fault.before_seconds >= limit:
            self._later(fault.before_seconds, do)
            await asyncio.sleep(limit)
            raise self.error(f"cannot {verb} {name}: no answer yet")
        try:
            await self.pause(fault.before_seconds)
        except asyncio.CancelledError:
            if self.rng.random() < self.outlives:  # its sender died; what it has sent is on its way all the same
                self._later(self.rng.random() * self.outlives_seconds, do)
            raise
        if fault.repeats_after_seconds is not None:
            self._later(fault.repeats_after_seconds, do)
        try:
            answer = await do()
        except Exception:
            await self._way_back(verb, name, fault)
            raise
        await self._way_back(verb, name, fault)
        return answer

    async def _way_back(self, verb: str, name: str, fault: Fault) -> None:
        await self.pause(fault.after_seconds)
        await self.gate()
        if self.is_cut or fault.loses_reply:
            raise self.error(f"cannot {verb} {name}: its answer was lost")

    def _later(self, seconds: float, do: Callable[[], Awaitable[object]]) -> None:
        async def deliver() -> None:
            await asyncio.sleep(seconds)
            try:
                await do()
            except Exception:  # noqa: BLE001 - nobody waits for this answer
                return

        task = asyncio.create_task(deliver())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    def _random(self, odds: Odds) -> Fault:
        rng = self.rng
        if odds.is_fine:
            return FINE
        draw = rng.random()
        if draw < odds.loses_request:
            return Fault(loses_request=True)
        draw -= odds.loses_request
        if draw < odds.loses_reply:
            return Fault(loses_reply=True)
        draw -= odds.loses_reply
        slow = rng.random() * odds.slow_seconds
        if draw < odds.repeats:
            return Fault(repeats_after_seconds=slow * 3)
        draw -= odds.repeats
        if draw < odds.is_late:
            return Fault(after_seconds=slow)
        draw -= odds.is_late
        if draw < odds.is_slow:
            return Fault(before_seconds=slow) if rng.random() < 0.5 else Fault(after_seconds=slow)
        return FINE
