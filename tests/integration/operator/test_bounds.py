"""What bounds a run, and what ends it: limits, cancel, errors, refusals."""

from typing import Any

import pytest

from hack.stage import OperatorProcess, Stage
from tests.integration.fleet import TERMINAL, Fleet

pytestmark = pytest.mark.cluster


@pytest.fixture
def active(fleet: Fleet, operator: OperatorProcess) -> Fleet:
    """A fleet that is active on v1."""
    fleet.deploy("v1")
    fleet.wait_active("v1")
    return fleet


def end_of(fleet: Fleet, run: str) -> tuple[str, str]:
    """Phase and reason of a run once it has ended."""
    status = fleet.wait_phase(run, *TERMINAL)
    return status["phase"], status["reason"]


def cancel(fleet: Fleet, run: str) -> None:
    """Set spec.cancel with kubectl patch."""
    fleet.stage.kubectl(
        "patch", "agentrun", run, "-n", fleet.namespace, "--type=merge", "-p", '{"spec":{"cancel":true}}'
    )


@pytest.mark.parametrize(
    ("limits", "given", "end"),
    [
        ({"maxSteps": 5}, {"steps": 50}, ("Failed", "StepLimit")),
        ({"maxTokens": 30}, {"steps": 50}, ("Failed", "TokenLimit")),
        ({"activeSeconds": 2}, {"steps": 500, "seconds": 0.1}, ("TimedOut", "ActiveSeconds")),
        ({"deadlineSeconds": 3}, {"steps": 500, "seconds": 0.1}, ("TimedOut", "Deadline")),
        ({"deadlineSeconds": 4}, {"steps": 2, "sleep_after": 1, "sleep_seconds": 600}, ("TimedOut", "Deadline")),
    ],
    ids=["steps", "tokens", "active", "deadline", "deadline-parked"],
)
@pytest.mark.case("draining: a run outlives every deadline")
def test_limits_end_a_run(active: Fleet, limits: Any, given: Any, end: tuple[str, str]) -> None:
    """Each limit ends the run with a phase and a reason of its own, on a pod or parked."""
    active.start("run", limits=limits, **given)

    assert end_of(active, "run") == end
    if "maxSteps" in limits:
        assert len(active.traced("run")) == limits["maxSteps"]
    if "maxTokens" in limits:
        assert len(active.traced("run")) == limits["maxTokens"] // 10


@pytest.mark.parametrize(
    ("given", "phase"),
    [
        ({"steps": 500, "seconds": 0.1}, "Running"),
        ({"steps": 500, "seconds": 0.1, "deaf": True}, "Running"),
        ({"steps": 2, "sleep_after": 1, "sleep_seconds": 600}, "Parked"),
    ],
    ids=["running", "deaf", "parked"],
)
@pytest.mark.case("runs: a cancel meets a parked run")
def test_cancel_ends_a_run(active: Fleet, given: Any, phase: str) -> None:
    """A run is cancelled whether it executes, does not listen, or is parked."""
    active.start("run", **given)
    active.wait_phase("run", phase)
    active.wait_step("run", 1)
    cancel(active, "run")

    assert end_of(active, "run") == ("Cancelled", "CancelRequested")
    active.start("next", steps=1)
    assert end_of(active, "next") == ("Succeeded", "Completed")


def test_an_error_of_the_agent_is_on_the_run(active: Fleet) -> None:
    """Type and message of what the code raised stand on the object."""
    active.start("run", fail_at=2)
    status = active.wait_phase("run", *TERMINAL)

    assert (status["phase"], status["reason"]) == ("Failed", "AgentError")
    assert "ValueError: step 2 fails, as told" in status["message"]


@pytest.mark.case("runs: one that always kills its pod")
def test_a_run_that_always_kills_its_pod_fails(active: Fleet) -> None:
    """As many executions as maxAttempts, with pauses, then Failed with the last exit code."""
    active.start("run", steps=3, die_at=1, limits={"maxAttempts": 2})
    status = active.wait_phase("run", *TERMINAL, seconds=90)

    assert (status["phase"], status["reason"]) == ("Failed", "AttemptsExhausted")
    assert "exit code 7" in status["message"]
    assert [(line.step, line.epoch) for line in active.traced("run")] == [(1, 1), (1, 2)]


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ({"given": {"padding": "x" * 33_000}}, "InputTooLarge"),
        ({"limits": {"maxSteps": 2000}}, "LimitsExceedFleet"),
        ({"version": "v9"}, "VersionNotLive"),
        ({"given": {"result_bytes": 17_000}}, None),
    ],
    ids=["input", "limits", "version", "result"],
)
@pytest.mark.case(
    "runs: an input at, over and far over its limit",
    "runs: limits above the fleet's",
    "runs: an explicit version is unknown or retired",
    "runs: a result too large",
)
def test_what_cannot_be_served_fails_with_a_reason(active: Fleet, task: Any, reason: str | None) -> None:
    """A run that can never be served says why at once, and nothing else is disturbed."""
    active.start("run", limits=task.get("limits"), version=task.get("version"), **task.get("given", {}))
    status = active.wait_phase("run", *TERMINAL)

    assert status["phase"] == "Failed"
    assert reason is None or status["reason"] == reason
    assert status["message"]


@pytest.mark.case("runs: the fleet is unknown")
def test_a_run_without_a_fleet_waits_and_says_so(stage: Stage, fleet: Fleet, operator: OperatorProcess) -> None:
    """A run may come before its fleet: it waits, says for what after 30 s, and is served once the fleet is there."""
    fleet.start("early", steps=1)
    stage.wait_for("the reason", lambda: fleet.run("early").get("reason") == "FleetNotFound", 40)
    fleet.deploy("v1")

    assert fleet.wait_phase("early", "Succeeded")["version"] == "v1"


def test_a_run_deleted_by_hand_stops_on_its_pod(stage: Stage, active: Fleet) -> None:
    """Rule 11: nobody pays for a run that is gone; its slot is free again."""
    active.deploy("v1", runsPerPod=5)
    active.start("run", steps=2000, seconds=0.05)
    active.wait_step("run", 3)
    stage.kubectl("delete", "agentrun", "run", "-n", active.namespace)

    def has_stopped() -> bool:
        before = len(active.traced("run"))
        stage.kubectl("get", "agentruns", "-n", active.namespace)
        stage.kubectl("get", "agentruns", "-n", active.namespace)
        stage.kubectl("get", "agentruns", "-n", active.namespace)
        return len(active.traced("run")) == before

    stage.wait_for("the run to stop", has_stopped, 20)
