"""`python -m tests.integration.failover.wrong`: an operator with something wrong with it, by its environment.

WRONG_CLOCK_SECONDS: its wall clock is ahead by so much. WRONG_SLEEPWALKS: it takes itself for the leader until it reads
in the Lease that it is not: the look at the clock before each write and call (rule 8) is taken out.
"""

import os
from datetime import UTC, datetime, timedelta

from pinfleet_operator.__main__ import main
from pinfleet_operator.clock import SystemClock
from pinfleet_operator.lease import Elector


def put_the_clock_off(seconds: float) -> None:
    """Nothing but the clock module reads the wall clock."""
    setattr(SystemClock, "now", lambda _: datetime.now(UTC) + timedelta(seconds=seconds))  # noqa: B010 - the fault


def walk_in_sleep() -> None:
    """A term is over when somebody else is seen in the Lease, and not before."""
    setattr(Elector, "is_leader", property(lambda self: self._renewed_at is not None))  # noqa: B010 - the fault


if __name__ == "__main__":
    put_the_clock_off(float(os.environ.get("WRONG_CLOCK_SECONDS", "0")))
    if "WRONG_SLEEPWALKS" in os.environ:
        walk_in_sleep()
    main()
