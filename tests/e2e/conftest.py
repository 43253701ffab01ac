"""One cluster for the session; the operator is installed for each test, and a namespace is its own."""

import re
from collections.abc import Generator, Iterator
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
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show a failure as soon as it is there, and what the operator said: the suite takes its time."""
    report = yield
    if report.failed:
        stage = getattr(item, "funcargs", {}).get("stage")
        said = stage.operator_logs() if isinstance(stage, RealStage) else ""
        report.sections.append(("the operator's log", said))
        terminal = item.config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None:
            terminal.write_line(f"\n{report.longreprtext}")
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
