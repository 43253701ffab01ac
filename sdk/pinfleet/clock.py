"""The only place of the SDK that reads a clock."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Moment:
    """One reading of both clocks."""

    wall: datetime  # aware, UTC; may jump: for what other machines also measure
    monotonic: float  # seconds; never jumps: for lengths of time


def now() -> Moment:
    """Read both clocks."""
    return Moment(datetime.now(UTC), time.monotonic())
