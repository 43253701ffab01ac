"""A clock that only the test moves."""

from datetime import timedelta

from pinfleet import clock


class FakeClock:
    """Takes the place of ``pinfleet.clock`` while it is installed; it begins at the real time."""

    def __init__(self) -> None:
        self._real = clock.now
        self._now = clock.now()

    def now(self) -> clock.Moment:
        """Read it."""
        return self._now

    def move(self, length: timedelta) -> None:
        """Let time pass."""
        self._now = clock.Moment(self._now.wall + length, self._now.monotonic + length.total_seconds())

    def install(self) -> None:
        """Let the SDK read this clock."""
        clock.now = self.now

    def remove(self) -> None:
        """Let the SDK read the real one again."""
        clock.now = self._real
