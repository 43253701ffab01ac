"""Fixtures of the SDK's tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pinfleet.agent import Agent
from pinfleet.journal.sqlite import SqliteJournal
from pinfleet.rules import ALL
from tests.postgres import PostgresServer
from tests.unit.sdk.fleets import Fleet
from tests.unit.sdk.inline_pod import InlinePod
from tests.unit.sdk.served_pod import ServedPod

MakePod = Callable[..., InlinePod]


@pytest.fixture
def make_pod(tmp_path: Path) -> Iterator[MakePod]:
    """Make pods that share one journal; close them at the end."""
    made: list[InlinePod] = []

    def make(agent: Agent, **settings: Any) -> InlinePod:
        journal = settings.pop("journal", None) or SqliteJournal(
            tmp_path / "journal.db", rules=settings.get("rules", ALL), busy_seconds=0.2
        )
        pod = InlinePod(agent, journal, **settings)
        made.append(pod)
        return pod

    yield make
    for pod in made:
        pod.leave()


ServePod = Callable[..., ServedPod]


@pytest.fixture
def serve_pod(tmp_path: Path) -> Iterator[ServePod]:
    """Start pods as processes that share a journal; kill them at the end."""
    served: list[ServedPod] = []

    def serve(uid: str = "pod-1", **environment: str) -> ServedPod:
        pod = ServedPod(tmp_path, uid, **environment)
        served.append(pod)
        return pod

    yield serve
    for pod in served:
        pod.kill()


@pytest.fixture(scope="module")
def inert_pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPod]:
    """Start one pod for the calls of a module that leave it as it is."""
    pod = ServedPod(tmp_path_factory.mktemp("inert"))
    yield pod
    pod.kill()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Start a PostgreSQL server for the tests that leave it as it is."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def fleet(postgres: PostgresServer) -> Iterator[Fleet]:
    """Prepare a fleet's schema on the shared server."""
    made = Fleet(postgres)
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgres"])
def state_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a journal, on each database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'journal.db'}"
    fleet: Fleet = request.getfixturevalue("fleet")
    return fleet.url
