"""Random schedules of crashes, losses, delays, deploys and jumping clocks; every invariant is asked at their end.

A seed that breaks something is printed with the command that replays it; ``make soak`` tries more of them. The order of
sets is part of a schedule: each test lives in a process whose hashing is fixed.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.controls import CONTROLS

ROOT = Path(__file__).parents[2]
SEEDS, SHARE = 540, 90
CONTROLS_AT_ONCE = 4


def _run(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=os.environ | {"SIM_PROCESSES": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(600)
@pytest.mark.case("runs: clocks jump, both ways", "INV-8", "INV-9", "INV-11", "INV-12", "INV-18", "INV-20")
@pytest.mark.parametrize("first", range(0, SEEDS, SHARE))
def test_random_schedules_break_nothing(first: int) -> None:
    """Whatever fails, in whatever order, every run ends once, on its version, with the outcome that its journal has."""
    done = _run("tests.sim", str(first), str(SHARE))
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert f"{SHARE} seeds from {first}, 0 failed" in done.stdout


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", range(0, len(CONTROLS), CONTROLS_AT_ONCE))
def test_random_schedules_see_that_a_rule_is_missing(first: int) -> None:
    """Control: a schedule that was found to meet a rule's race breaks an invariant without it, and none with it."""
    done = _run("tests.sim.controls", "--replay", str(first), str(CONTROLS_AT_ONCE))
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
