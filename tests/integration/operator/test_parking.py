"""Parked runs: no slot, no pod of theirs, and they wake elsewhere."""

import os
import signal

import pytest

from hack.stage import OperatorProcess, Stage
from tests.integration.fleet import Fleet

pytestmark = pytest.mark.cluster


def test_a_parked_run_gives_its_slot_and_wakes_elsewhere(stage: Stage, fleet: Fleet, operator: OperatorProcess) -> None:
    """While it sleeps another run has its slot, its pod is killed, and it goes on after its timer on another pod."""
    fleet.deploy("v1", runsPerPod=1, maxReplicas=1)
    fleet.wait_active("v1")
    fleet.start("sleeper", steps=4, sleep_after=2, sleep_seconds=8)
    parked = fleet.wait_phase("sleeper", "Parked")
    first = fleet.traced("sleeper")[0].pod
    fleet.start("guest", steps=2)
    fleet.wait_phase("guest", "Succeeded")
    guest = fleet.traced("guest")[0].pod
    still = fleet.run("sleeper")["phase"]
    os.kill(stage.pod_pid(first), signal.SIGKILL)
    last = fleet.wait_phase("sleeper", "Succeeded")

    assert guest == first
    assert still == "Parked"
    assert "pod" not in parked
    assert parked["waitingFor"][0]["kind"] == "Timer"
    assert parked["waitingFor"][0]["until"] > parked["parkedAt"]
    assert [line.step for line in fleet.traced("sleeper")] == [1, 2, 3, 4]
    assert fleet.traced("sleeper")[-1].pod != first
    assert (last["epoch"], last["attempts"]) == (2, 1)


def test_a_short_wait_stays_on_its_pod(fleet: Fleet, operator: OperatorProcess) -> None:
    """A wait shorter than the park limit costs no write and no new assignment."""
    fleet.deploy("v1")
    fleet.wait_active("v1")
    fleet.start("run", steps=2, sleep_after=1, sleep_seconds=0.3)

    assert fleet.wait_phase("run", "Succeeded")["epoch"] == 1


def test_a_parked_run_keeps_its_version_alive(stage: Stage, fleet: Fleet, operator: OperatorProcess) -> None:
    """v1 has only a sleeping run: it is not retired, and the run wakes on v1."""
    fleet.deploy("v1")
    fleet.wait_active("v1")
    fleet.start("sleeper", steps=2, sleep_after=1, sleep_seconds=8)
    fleet.wait_phase("sleeper", "Parked")
    fleet.deploy("v2")
    fleet.wait_active("v2")
    draining = fleet.version("v1")
    last = fleet.wait_phase("sleeper", "Succeeded")

    assert (draining["phase"], draining["parked"]) == ("Draining", 1)
    assert (last["version"], last["result"]["code"]) == ("v1", "v1")
    stage.wait_for("v1 to retire", lambda: fleet.version("v1").get("phase") == "Retired", 20)
