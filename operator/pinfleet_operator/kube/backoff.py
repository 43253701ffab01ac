"""How long to pause after failures in a row."""

import random
from collections.abc import Callable

Jitter = Callable[[], float]
"""A number in [0, 1); the same one for everybody would make all replicas come back in the same moment."""


class Backoff:
    """Pauses that double up to a bound, each shortened by up to half."""

    def __init__(self, first_seconds: float, last_seconds: float, jitter: Jitter = random.random) -> None:
        self._first, self._last, self._jitter = first_seconds, last_seconds, jitter
        self._failures = 0  # in a row

    def reset(self) -> None:
        """Something went well."""
        self._failures = 0

    def next_seconds(self, at_least: float | None = None) -> float:
        """The pause after one more failure; `at_least` is the server's own wish."""
        seconds = min(self._last, self._first * 2.0 ** min(self._failures, 20)) * (1 - self._jitter() / 2)
        self._failures += 1
        return max(seconds, at_least or 0.0)
