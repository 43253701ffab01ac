"""``hack/generate.py``: writes what the models say, and says what is out of date."""

from pathlib import Path

import pytest

from hack import generate


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout with everything generated."""
    assert generate.main([], root=tmp_path) == 0
    return tmp_path


def test_a_fresh_tree_is_in_order(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was just generated passes the check, which changes nothing and says nothing."""
    capsys.readouterr()
    assert generate.main(["--check"], root=tree) == 0
    assert capsys.readouterr().err == ""


def test_an_edited_file_is_found_and_mended(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file edited by hand fails the check, which names it and the cure; generating mends it."""
    file = tree / "crds/agentruns.yaml"
    file.write_text(file.read_text() + "# by hand\n")
    assert generate.main(["--check"], root=tree) == 1
    assert capsys.readouterr().err.splitlines() == ["crds/agentruns.yaml: out of date", generate.CURE]
    assert generate.main([], root=tree) == 0
    assert generate.main(["--check"], root=tree) == 0


def test_a_missing_file_is_found(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is gone fails the check."""
    (tree / "charts/pinfleet/templates/crds/agentruns.yaml").unlink()
    assert generate.main(["--check"], root=tree) == 1
    assert "charts/pinfleet/templates/crds/agentruns.yaml: missing" in capsys.readouterr().err


def test_a_file_that_nothing_generates_is_found_and_removed(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A left-over would be applied with the rest: it fails the check, and generating removes it."""
    (tree / "crds/agentmemos.yaml").write_text("{}")
    assert generate.main(["--check"], root=tree) == 1
    assert "crds/agentmemos.yaml: not generated from anything" in capsys.readouterr().err
    assert generate.main([], root=tree) == 0
    assert not (tree / "crds/agentmemos.yaml").exists()


def test_writing_touches_only_what_differs(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second run writes nothing."""
    capsys.readouterr()
    assert generate.main([], root=tree) == 0
    assert capsys.readouterr().out == ""
