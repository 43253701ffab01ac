"""The operator is killed right after each of its writes; the story ends as if nothing had been."""

import signal

import pytest

from hack.stage import Stage
from tests.integration.fleet import Fleet
from tests.integration.operator.conftest import QUICK

pytestmark = pytest.mark.cluster


def die_and_go_on(stage: Stage, fleet: Fleet, point: str) -> None:
    """Wait until the operator has died at the point, then start another."""
    dying = stage._operators[-1]
    stage.wait_for(f"the operator to die at {point}", lambda: dying.exit_code == -signal.SIGKILL, 30)
    stage.start_operator(f"after-{point}", **QUICK)


@pytest.mark.parametrize("point", ["assigned", "accepted", "parked", "woken", "ended"])
def test_a_run_survives_the_operator(stage: Stage, fleet: Fleet, point: str) -> None:
    """One attempt, every step once, one result: the death of the operator is not seen on the run."""
    with stage.operator(f"before-{point}", **QUICK):
        fleet.deploy("v1")
        fleet.wait_active("v1")
    stage.start_operator(f"dies-{point}", **QUICK, PINFLEET_CRASH_AT=point)
    fleet.start("run", steps=4, sleep_after=2, sleep_seconds=3)
    die_and_go_on(stage, fleet, point)
    run = fleet.wait_phase("run", "Succeeded", "Failed")
    stage._operators[-1].stop()

    assert (run["phase"], run["attempts"], run["epoch"], run["result"]["steps"]) == ("Succeeded", 1, 2, 4)
    assert [line.step for line in fleet.traced("run")] == [1, 2, 3, 4]


def test_a_switch_survives_the_operator(stage: Stage, fleet: Fleet) -> None:
    """The promote was written: new runs go to v2, the old one ends on v1, and v1 is retired by the next operator."""
    with stage.operator("before-promoted", **QUICK):
        fleet.deploy("v1")
        fleet.wait_active("v1")
        fleet.start("old", steps=60, seconds=0.1)
        fleet.wait_step("old", 2)
    stage.start_operator("dies-promoted", **QUICK, PINFLEET_CRASH_AT="promoted")
    fleet.deploy("v2")
    die_and_go_on(stage, fleet, "promoted")
    fleet.start("new", steps=1)
    new, old = fleet.wait_phase("new", "Succeeded"), fleet.wait_phase("old", "Succeeded")
    stage.wait_for("v1's pods to go away", lambda: not fleet.pods("v1"), 20)
    stage._operators[-1].stop()

    assert (new["version"], old["version"], old["epoch"]) == ("v2", "v1", 1)
    assert [line.step for line in fleet.traced("old")] == list(range(1, 61))
