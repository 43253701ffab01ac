"""The operator's leading pod is deleted at each stage of a fleet's and a run's life: the end is the same."""

import pytest

from tests.e2e.fleet import RealFleet

STAGES = ("deploying", "pending", "running", "switching", "draining", "parked", "cancelling")


@pytest.mark.parametrize("stage_of_life", STAGES)
def test_the_leader_is_deleted(fleet: RealFleet, stage_of_life: str) -> None:
    """Whenever the leading pod goes, another leads on: runs end on their version, and the old version retires."""

    def reached(now: str) -> None:
        if now == stage_of_life:
            fleet.stage.delete_leader()

    fleet.deploy("v1", replicas=1, runsPerPod=4)
    reached("deploying")
    fleet.wait_active("v1", 120)
    fleet.start("long", steps=12, seconds=0.5)
    reached("pending")
    fleet.start("sleeper", steps=2, sleep_after=1, sleep_seconds=25)
    fleet.start("unwanted", steps=500, seconds=0.5)
    fleet.wait_step("long", 2, 90)
    reached("running")
    fleet.deploy("v2", replicas=1, runsPerPod=4)
    reached("switching")
    fleet.wait_active("v2", 120)
    reached("draining")
    fleet.wait_phase("sleeper", "Parked", "Succeeded", seconds=90)
    reached("parked")
    fleet.stage.kubectl(
        "patch", "agentrun", "unwanted", "-n", fleet.namespace, "--type=merge", "-p", '{"spec":{"cancel":true}}'
    )
    reached("cancelling")
    assert fleet.wait_phase("long", "Succeeded", seconds=120)["result"]["code"] == "v1"
    assert fleet.wait_phase("sleeper", "Succeeded", seconds=120)["result"]["code"] == "v1"
    fleet.wait_phase("unwanted", "Cancelled", seconds=90)
    fleet.check_whole("long", 12)
    fleet.check_whole("sleeper", 2)
    fleet.stage.wait_for("v1 to retire", lambda: fleet.version("v1").get("phase") == "Retired", 90)
    assert fleet.pods("v1") == []
    fleet.stage.wait_operator()
