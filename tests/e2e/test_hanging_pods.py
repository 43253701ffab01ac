"""Agents that do not stop when they are told: the limits hold from outside."""

import pytest

from tests.e2e.fleet import RealFleet
from tests.e2e.stage import CANCEL_GRACE_SECONDS


@pytest.fixture
def deployed(fleet: RealFleet) -> RealFleet:
    """A fleet whose pod takes one run."""
    fleet.deploy("v1", replicas=1, runsPerPod=1)
    fleet.wait_active("v1", 120)
    return fleet


def test_a_hung_process_is_cancelled(deployed: RealFleet) -> None:
    """A process that answers nothing and ignores a cancel is taken away, and its run is Cancelled."""
    deployed.start("hung", steps=5, hang_at=2)
    deployed.wait_step("hung", 2, 60)
    before = deployed.run("hung")
    deployed.stage.kubectl(
        "patch", "agentrun", "hung", "-n", deployed.namespace, "--type=merge", "-p", '{"spec":{"cancel":true}}'
    )
    deployed.wait_phase("hung", "Cancelled", seconds=CANCEL_GRACE_SECONDS + 120)
    gone = lambda: all(pod["metadata"]["uid"] != before["podUID"] for pod in deployed.pods())  # noqa: E731
    deployed.stage.wait_for("the hung pod to go", gone, 60)


@pytest.mark.case("runs: a hung and silent pod passes a limit")
def test_a_hung_process_meets_its_limit(deployed: RealFleet) -> None:
    """The wall clock of a run counts while its pod is silent: TimedOut, though nobody answered."""
    deployed.start("hung", steps=5, hang_at=2, limits={"activeSeconds": 8})
    ended = deployed.wait_phase("hung", "TimedOut", seconds=150)
    assert ended["reason"] == "ActiveSeconds"


def test_deaf_code_is_cancelled(deployed: RealFleet) -> None:
    """Code that swallows its cancellation is fenced: the pod ends the run itself, and the slot is free again."""
    deployed.start("deaf", steps=50, seconds=0.5, deaf=True)
    deployed.wait_step("deaf", 2, 60)
    deployed.stage.kubectl(
        "patch", "agentrun", "deaf", "-n", deployed.namespace, "--type=merge", "-p", '{"spec":{"cancel":true}}'
    )
    deployed.wait_phase("deaf", "Cancelled", seconds=CANCEL_GRACE_SECONDS + 60)
    deployed.start("next", steps=2)
    assert deployed.wait_phase("next", "Succeeded", seconds=150)["version"] == "v1"
