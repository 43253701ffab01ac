"""Random schedules of crashes, losses, delays, deploys and jumping clocks; every invariant is asked at their end.

``SIM_SEED`` replays one seed; ``SIM_FIRST``, ``SIM_COUNT`` and ``SIM_SECONDS`` make a soak of it.
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
COUNT, SECONDS = 25, 20.0


@pytest.mark.case("runs: clocks jump, both ways")
def test_random_schedules_break_nothing() -> None:
    """Whatever fails, in whatever order, every run ends once, on its version, with the outcome that its journal has."""
    given = os.environ.get("SIM_SEED")
    first = given or os.environ.get("SIM_FIRST", "0")
    count = "1" if given else os.environ.get("SIM_COUNT", str(COUNT))
    seconds = os.environ.get("SIM_SECONDS", str(SECONDS))
    paths = os.pathsep.join(str(ROOT / part) for part in (".", "operator", "sdk"))
    done = subprocess.run(
        [sys.executable, "-m", "tests.sim", first, count, seconds],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_random_schedules_see_that_a_rule_is_missing() -> None:
    """Control: without commit-before-report some of the first schedules break an invariant."""
    off = without("commit-before-report")
    found = (run_virtual(live_through(seed, pod_rules=off))[0] for seed in range(6))
    assert list(itertools.islice(filter(None, found), 1)) != []
