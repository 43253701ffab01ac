"""Runs that talk with people, while their version has no pods."""

import pytest

from hack.stage import Json, OperatorProcess, Stage
from tests.integration.fleet import Fleet

pytestmark = pytest.mark.cluster

PEOPLE = "registry.local/people:v1"


def asked(fleet: Fleet, run: str) -> Json:
    """What a parked run asks people for; empty if it does not."""
    status = fleet.run(run)
    waits = [wait for wait in status.get("waitingFor", []) if wait["kind"] == "Approval"]
    return waits[0] if waits and status["phase"] == "Parked" else {}


def is_dormant(fleet: Fleet, version: str) -> bool:
    """Whether the version has no pods while its runs wait."""
    return fleet.version(version).get("phase") == "Dormant" and not fleet.pods(version)


@pytest.mark.case(
    "INV-6", "INV-14", "runs: an approval comes early, twice, for another request or too late"
)  # fmt: skip
def test_people_wake_a_run_that_has_no_pod(stage: Stage, fleet: Fleet, operator: OperatorProcess) -> None:
    """From zero pods a message wakes it, it asks, sleeps again, and a person's decision lets it act, once."""
    fleet.deploy("v1", image=PEOPLE)
    fleet.wait_active("v1")
    fleet.start("refund")
    fleet.wait_phase("refund", "Parked")
    fleet.deploy("v2", image=PEOPLE)
    fleet.wait_active("v2")
    stage.wait_for("v1 to be without pods", lambda: is_dormant(fleet, "v1"), 40)

    fleet.send("refund", "reply-1", {"cents": 9_900})
    wait = stage.wait_for("the run to ask", lambda: asked(fleet, "refund"), 40)
    shown = {key: wait[key] for key in ("name", "shown", "who")}
    seen = fleet.run("refund")["messagesSeen"]
    stage.wait_for("v1 to be without pods again", lambda: is_dormant(fleet, "v1"), 40)
    fleet.decide("refund", "f" * 64, name="another-request")
    fleet.decide("refund", wait["hash"], name="first")
    fleet.decide("refund", wait["hash"], "denied", name="second")
    last = fleet.wait_phase("refund", "Succeeded", seconds=60)
    judged = {
        item["metadata"]["name"]: (item["status"]["phase"], item["status"]["reason"])
        for item in stage.list("agentapprovals", fleet.namespace)
    }

    assert shown == {"name": "refund", "shown": {"cents": 9_900}, "who": "finance"}
    assert seen == 1
    assert (last["result"], last["version"]) == ({"cents": 9_900, "by": "admin"}, "v1")
    assert len(fleet.traced("refund")) == 1
    assert judged["first"] == ("Accepted", "DecisionAccepted")
    assert judged["another-request"] == ("Refused", "RunEnded")
    assert judged["second"][0] == "Refused"
    stage.wait_for("v1 to retire", lambda: fleet.version("v1").get("phase") == "Retired", 30)
