"""Random schedules of crashes, losses, delays, deploys and jumping clocks; every invariant is asked at their end.

A seed that breaks something is printed with the command that replays it; ``make soak`` tries more of them.
"""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pinfleet.rules import without
from tests.sim.chaos import live_through
from tests.sim.loop import run_virtual

ROOT = Path(__file__).parents[2]
SHARDS, SEEDS = 4, 40
SHARE = SEEDS // SHARDS


@pytest.mark.timeout(600)
@pytest.mark.case("runs: clocks jump, both ways", "INV-8", "INV-9", "INV-11", "INV-20")
@pytest.mark.parametrize("first", range(0, SEEDS, SHARE))
def test_random_schedules_break_nothing(first: int) -> None:
    """Whatever fails, in whatever order, every run ends once, on its version, with the outcome that its journal has."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.sim", str(first), str(SHARE)],
        cwd=ROOT,
        env=os.environ | {"SIM_PROCESSES": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert f"{SHARE} seeds from {first}, 0 failed" in done.stdout


def test_random_schedules_see_that_a_rule_is_missing() -> None:
    """Control: without commit-before-report some of the first schedules break an invariant."""
    off = without("commit-before-report")
    found = (run_virtual(live_through(seed, pod_rules=off))[0] for seed in range(6))
    assert list(itertools.islice(filter(None, found), 1)) != []
