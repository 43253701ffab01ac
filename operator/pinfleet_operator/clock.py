"""The clock: the one module that reads it.

Everything else takes `now` as a value, or a `Clock` that tests and the simulator replace.
"""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the operator may ask of time."""

    def now(self) -> datetime:
        """Wall clock in UTC; it may jump, and differs between machines."""

    def boottime(self) -> float:
        """Seconds that never jump and go on while the machine is suspended; for durations alone."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Wall clock in UTC."""
        return datetime.now(UTC)

    def boottime(self) -> float:
        """CLOCK_BOOTTIME: unlike CLOCK_MONOTONIC it counts a suspended machine's time."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await asyncio.sleep(seconds)
