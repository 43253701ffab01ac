"""The pytest plugin: the fixtures of ``pinfleet.testing``, and the cases of ``kill_everywhere``."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pinfleet.testing.fleet import Fleet
    from pinfleet.testing.model import ScriptedModel


@pytest.fixture(name="pinfleet")
def _fleet(tmp_path: Path) -> "Iterator[Fleet]":
    """Runs on SQLite, with a clock that only the test moves."""
    from pinfleet.journal.sqlite import SqliteJournal  # noqa: PLC0415 - who does not use the fixture loads nothing
    from pinfleet.testing.fleet import Fleet  # noqa: PLC0415

    fleet = Fleet(lambda: SqliteJournal(tmp_path / "pinfleet.db"))
    fleet.clock.install()
    yield fleet
    fleet.clock.remove()
    fleet.close()


@pytest.fixture(name="scripted_model")
def _model() -> "Iterator[ScriptedModel]":
    """A model on loopback that says what the test tells it to."""
    from pinfleet.testing.model import ScriptedModel  # noqa: PLC0415

    with ScriptedModel() as model:
        yield model


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one case for each side of each commit of a ``kill_everywhere``."""
    cases = getattr(metafunc.function, "pinfleet_cases", None)
    if cases is not None and "kill" in metafunc.fixturenames:
        metafunc.parametrize("kill", cases(), ids=str)
