"""Tests that fork a pod and send it real signals: in a session of their own, since a fork takes no thread along.

Half of the SIGKILLs are sent here: each commit's one side on SQLite, its other side on PostgreSQL. ``make kills`` sends
them all.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pinfleet.testing import kill_everywhere
from tests.unit.sdk.fleets import Fleet
from tests.unit.sdk.test_kill import banks, everything, people

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[3]
COMMITS = 25  # of the agent that uses everything
SIDES = ("before", "after")
WHOLE = os.environ.get("KILLS") == "all"
PATIENCE_SECONDS = 170.0


def half(file: str, first: int) -> list[str]:
    """Return one case for each commit; the other side comes with the other ``first``."""
    sides = ((n, SIDES[(n + first) % 2]) for n in range(1, COMMITS + 1))
    return [f"{file}::test_a_run_survives_sigkill[{side}-commit-{n}]" for n, side in sides]


def session(fleet: Fleet, cases: list[str]) -> str:
    """Run tests in a session of their own; return what it says."""
    places = [str(HERE / case) for case in cases]
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *places, *(["-v"] if WHOLE else [])]
    environment = os.environ | {"PINFLEET_TEST_POSTGRES": fleet.url}
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    print(done.stdout)  # noqa: T201 - the matrix, for who asked for it
    return done.stdout


@pytest.mark.parametrize(("file", "first"), [("killed_for_real.py", 0), ("killed_on_postgres.py", 1)])
def test_a_run_survives_sigkill(fleet: Fleet, file: str, first: int) -> None:
    """SIGKILL at every commit: nothing is lost, doubled, or run again."""
    said = session(fleet, [file] if WHOLE else half(file, first))
    assert f"{90 if WHOLE else COMMITS} passed" in said, said


def test_half_of_the_cases_leaves_no_commit_out() -> None:
    """A commit that the agent makes since is in them too."""
    plan = kill_everywhere(everything(), 1, script=people, around=banks).pinfleet_plan  # type: ignore[attr-defined]
    assert len(plan.cases()) == 2 * COMMITS


def test_a_pod_that_is_stopped_before_the_send(fleet: Fleet) -> None:
    """SIGSTOP between intent and send, takeover, SIGCONT: never two effects, on both databases."""
    said = session(fleet, ["stopped_for_real.py"])
    assert "6 passed" in said, said
