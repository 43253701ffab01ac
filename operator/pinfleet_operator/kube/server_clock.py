"""What the API server's wall clock says, learned from the Date header of its answers and told by CLOCK_BOOTTIME.

Our own wall clock is not asked once an answer came: whoever sets it, or resumes this machine, must not move the bounds
of runs by an hour until the next answer.

The header has whole seconds, so one answer bounds the server's clock to a second plus the call's duration; the bounds
of many answers, cut with each other, come within milliseconds of it.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

DRIFT: Final = 0.0005  # seconds per second by which two clocks may drift apart: NTP's own bound for slewing
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class ServerClock:
    """Bounds of (server's clock - CLOCK_BOOTTIME), in seconds since 1970."""

    wall: datetime  # our clock at the beginning; stands in for the server's before the first answer
    boottime: float  # at the same moment
    low: float = field(init=False)
    high: float = field(init=False)
    heard_at: float | None = field(init=False, default=None)  # by CLOCK_BOOTTIME; None: no answer yet

    def __post_init__(self) -> None:
        self.low = self.high = (self.wall - EPOCH).total_seconds() - self.boottime

    def at(self, boottime: float) -> datetime:
        """The server's wall clock at a moment of CLOCK_BOOTTIME, as well as it is known."""
        return EPOCH + timedelta(seconds=boottime + (self.low + self.high) / 2)

    def hear(self, date_header: str, *, began: float, ended: float) -> None:
        """Take one answer.

        Args:
            date_header: an HTTP date, as the server wrote it between `began` and `ended`.
            began: CLOCK_BOOTTIME before the call.
            ended: the same when the answer's head had come.
        """
        seconds = _seconds(date_header)
        if seconds is None:
            return
        # The server's clock stood in [served, served + 1 s) at some moment between began and ended.
        low, high = seconds - ended, seconds - began + 1
        if self.heard_at is not None:
            drift = (ended - self.heard_at) * DRIFT
            old_low, old_high = self.low - drift, self.high + drift
            # Bounds that do not meet: the server's clock was set, or another API server answers. The new one holds.
            if max(low, old_low) <= min(high, old_high):
                low, high = max(low, old_low), min(high, old_high)
        self.low, self.high, self.heard_at = low, high, ended


@lru_cache(maxsize=2)  # many answers come within a second, and reading a date costs more than all else here
def _seconds(date_header: str) -> float | None:
    """Seconds since 1970 of an HTTP date; None: it is none."""
    try:
        served = parsedate_to_datetime(date_header)
    except ValueError:
        return None
    if served.tzinfo is None:
        served = served.replace(tzinfo=UTC)
    return (served - EPOCH).total_seconds()
