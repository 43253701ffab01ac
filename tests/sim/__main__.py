"""Lives through the schedules of some seeds: ``python -m tests.sim FIRST COUNT [SECONDS]``; says which break what.

Run it with ``PYTHONHASHSEED=0``: the order of sets is part of a schedule.
"""

import sys
import time

from tests.sim.chaos import live_through
from tests.sim.loop import run_virtual

FOUND_SHOWN = 6


def main(first: int, count: int, seconds: float) -> int:
    """Return how many seeds broke something; fewer are tried if the time is over."""
    failed, began, seed = 0, time.monotonic(), first
    while seed < first + count and time.monotonic() - began < seconds:
        found, story = run_virtual(live_through(seed))
        if found:
            failed += 1
            lines = [f"seed {seed}:", *found[:FOUND_SHOWN], "what happened:", *story]
            lines.append(f"replay: PYTHONHASHSEED=0 SIM_SEED={seed} pytest tests/rules/test_random.py")
            sys.stdout.write("\n".join(lines) + "\n")
        seed += 1
    sys.stdout.write(f"{seed - first} seeds from {first}, {failed} failed, {time.monotonic() - began:.1f} s\n")
    return failed


if __name__ == "__main__":
    first, count, seconds = int(sys.argv[1]), int(sys.argv[2]), float((*sys.argv, "inf")[3])
    sys.exit(1 if main(first, count, seconds) else 0)
