"""Points at which a test can have this process killed: right after a write, before anything follows from it.

The tests of "the operator dies after X" need the death at X, not near it. Without the variable nothing happens.
"""

import os
import signal
from typing import Final

POINTS: Final = frozenset({"assigned", "accepted", "parked", "woken", "ended", "promoted"})
VARIABLE: Final = "PINFLEET_CRASH_AT"


def point(name: str) -> None:
    """Die by SIGKILL if the variable names this point."""
    if os.environ.get(VARIABLE) == name:
        os.kill(os.getpid(), signal.SIGKILL)
