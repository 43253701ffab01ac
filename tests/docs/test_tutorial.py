"""The pages that a reader follows, as their first reader lives them."""

from pathlib import Path

import pytest

from tests.docs.walkthrough import Walk

ROOT = Path(__file__).parents[2]


def test_the_page_on_other_code_shows_what_happens(tmp_path: Path) -> None:
    """Every file and command of docs/changing-code.md gives what the page shows."""
    assert Walk(tmp_path).follow(ROOT / "docs/changing-code.md") == []


def test_the_tutorial_shows_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file and command of docs/tutorial.md gives what the page shows."""
    monkeypatch.setenv("PINFLEET_EXAMPLES", str(ROOT / "examples"))
    assert Walk(tmp_path).follow(ROOT / "docs/tutorial.md") == []
