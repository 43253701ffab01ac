"""The tutorial, as its first reader lives it."""

from pathlib import Path

import pytest

from tests.docs.walkthrough import Walk

ROOT = Path(__file__).parents[2]


def test_the_tutorial_shows_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file and command of docs/tutorial.md gives what the page shows."""
    monkeypatch.setenv("PINFLEET_EXAMPLES", str(ROOT / "examples"))
    assert Walk(tmp_path).follow(ROOT / "docs/tutorial.md") == []
