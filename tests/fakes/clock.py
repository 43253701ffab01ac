"""A clock that stands still until a test moves it."""

import asyncio
from datetime import UTC, datetime, timedelta


class StepClock:
    """Both clocks begin anywhere and move by `advance`."""

    def __init__(self) -> None:
        self.wall = datetime(2026, 1, 1, tzinfo=UTC)
        self.seconds = 1000.0

    def now(self) -> datetime:
        """The wall clock."""
        return self.wall

    def boottime(self) -> float:
        """The clock that never jumps."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Let the time pass at once."""
        self.advance(seconds)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.wall += timedelta(seconds=seconds)
        self.seconds += seconds
