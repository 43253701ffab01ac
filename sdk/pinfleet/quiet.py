"""Tells when nothing has begun or ended in a run's code for a moment.

Code that is between two awaits waits for nothing: only what lasts is listed as a wait of the code's own.
"""

import asyncio
from collections.abc import Callable
from typing import Final

SECONDS: Final = 0.1


class Quiet:
    """Whether it is quiet, and a call once it is.

    Args:
        then: Called each time that it has become quiet.
    """

    def __init__(self, then: Callable[[], None]) -> None:
        self.is_now = False
        self._then = then
        self._disturbed_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def disturb(self) -> None:
        """Something began or ended."""
        loop = asyncio.get_running_loop()
        self._disturbed_at, self.is_now = loop.time(), False
        if self._timer is None:
            self._timer = loop.call_later(SECONDS, self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        left = self._disturbed_at + SECONDS - loop.time()
        self._timer = loop.call_later(left, self._look) if left > 0 else None
        self.is_now = left <= 0
        if self.is_now:
            self._then()
