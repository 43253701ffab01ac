"""Tests that fork a pod and send it real signals: in a session of their own, since a fork takes no thread along."""

import subprocess
import sys
from pathlib import Path

import pytest

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[3]
PATIENCE_SECONDS = 170.0


@pytest.mark.parametrize(
    ("file", "cases"),
    [
        ("killed_for_real.py", 50),  # both sides of 25 commits
        ("stopped_for_real.py", 3),
    ],
)
def test_a_run_survives_real_signals(file: str, cases: int) -> None:
    """SIGKILL at every commit, SIGSTOP between intent and send: nothing is lost, doubled, or run again."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / file)]
    session = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS)
    assert session.returncode == 0, session.stdout
    assert f"{cases} passed" in session.stdout, session.stdout
