"""How far the API server's wall clock is from ours, learned from the Date header of its answers.

The header has whole seconds, so one answer bounds the offset to a second plus the call's duration; the bounds of many
answers, cut with each other, come within milliseconds of it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

DRIFT: Final = 0.0005  # seconds per second by which two clocks may drift apart: NTP's own bound for slewing


@dataclass
class ServerClock:
    """Bounds of (server's clock - ours), in seconds."""

    low: float = 0.0
    high: float = 0.0
    heard_at: float | None = None  # by CLOCK_BOOTTIME; None: no answer yet

    @property
    def offset_seconds(self) -> float:
        """Best estimate; 0 before the first answer."""
        return (self.low + self.high) / 2

    def hear(self, date_header: str, *, began: datetime, ended: datetime, boottime: float) -> None:
        """Take one answer.

        Args:
            date_header: an HTTP date, as the server wrote it between `began` and `ended`.
            began: our clock before the call.
            ended: our clock when the answer's head had come.
            boottime: seconds that never jump, for how long the old bounds had to drift.
        """
        try:
            served = parsedate_to_datetime(date_header)
        except ValueError:
            return
        if served.tzinfo is None:
            served = served.replace(tzinfo=UTC)
        # The server's clock stood in [served, served + 1 s) at some moment between began and ended.
        low = (served - ended).total_seconds()
        high = (served - began).total_seconds() + 1
        if self.heard_at is not None:
            drift = (boottime - self.heard_at) * DRIFT
            old_low, old_high = self.low - drift, self.high + drift
            # Bounds that do not meet: one of the clocks was set, or another API server answers. The new one holds.
            if max(low, old_low) <= min(high, old_high):
                low, high = max(low, old_low), min(high, old_high)
        self.low, self.high, self.heard_at = low, high, boottime
