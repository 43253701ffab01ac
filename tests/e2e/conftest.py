"""One cluster for the session; the operator is installed for each test, and a namespace is its own."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster import LocalClusterError
from tests.e2e.fleet import RealFleet
from tests.e2e.place import brought_up, chosen
from tests.e2e.stage import RealStage

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".e2e"
_FOLDER = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """What is about profile `node` alone is no test of another place."""
    return True if collection_path.name.startswith("test_node_") and chosen() != "node" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show what the operator said when a test failed."""
    report = yield
    stage = getattr(item, "funcargs", {}).get("stage")
    if report.failed and isinstance(stage, RealStage):  # type: ignore[attr-defined]  # pytest hands the report in
        report.sections.append(("the operator's log", stage.operator_logs()))  # type: ignore[attr-defined]
    return report


@pytest.fixture(scope="session")
def stage() -> Iterator[RealStage]:
    """The chosen cluster with real pods."""
    try:
        cluster = brought_up(STATE / "cluster", print)
    except LocalClusterError as err:
        pytest.exit(f"make e2e cannot run: {err}", returncode=2)
    made = RealStage(STATE, cluster)
    try:
        made.place_hand()
        yield made
    finally:
        made.cluster.down()


@pytest.fixture
def installed(stage: RealStage) -> RealStage:
    """The operator runs, as Helm installed it; a test before may have taken it away."""
    stage.install()
    return stage


@pytest.fixture
def namespace(installed: RealStage, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace named after the test; removed at the end."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:50].rstrip("-")
    yield name
    installed.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")


@pytest.fixture
def fleet(installed: RealStage, namespace: str) -> RealFleet:
    """A fleet of the test agent, not deployed yet."""
    return RealFleet(installed, namespace)
