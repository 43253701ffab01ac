"""One stage for the session; a namespace, a fleet and an operator for each test."""

import re
from collections.abc import Iterator

import pytest

from hack.stage import OperatorProcess, Stage
from tests.integration.fleet import Fleet, trace_file
from tests.integration.history import check
from tests.integration.recorder import Recorder


@pytest.fixture
def namespace(stage: Stage, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace named after the test; what is left in it is removed."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:50].rstrip("-")
    yield name
    stage.kubectl("delete", "agentruns,agentapprovals,agentdeployments", "--all", "-n", name, "--wait=false")
    stage.kubectl("delete", "pods", "--all", "-n", name, "--grace-period=0", "--force", "--wait=false")


@pytest.fixture(autouse=True)
def history(recorder: Recorder, stage: Stage, namespace: str) -> Iterator[None]:
    """The whole history of the test keeps the invariants; looked at before what is left is removed."""
    yield
    assert check(recorder.of(namespace, trace_file(stage, namespace))) == []


@pytest.fixture
def fleet(stage: Stage, namespace: str) -> Fleet:
    """A fleet of the test agent, not deployed yet."""
    return Fleet(stage, namespace)


@pytest.fixture
def operator(stage: Stage) -> Iterator[OperatorProcess]:
    """An operator with short times, so that no test waits for long."""
    with stage.operator(**QUICK) as started:
        yield started


QUICK = {
    "PINFLEET_PARK_AFTER_SECONDS": "1",
    "PINFLEET_CANCEL_GRACE_SECONDS": "2",
    "PINFLEET_UNREACHABLE_SECONDS": "5",
    "PINFLEET_SILENT_SECONDS": "2",
}
"""Settings of the tests' operators."""
