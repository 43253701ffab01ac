"""The main job on a real API server: pin, switch, drain, retire."""

import json
import os
import signal
import time
from collections.abc import Callable

import pytest

from hack.stage import Json, OperatorProcess, Stage
from tests.integration.fleet import Fleet

pytestmark = pytest.mark.cluster


@pytest.mark.case("INV-1", "INV-6", "INV-13")
def test_a_run_stays_on_its_version_and_the_version_stays_as_long(
    stage: Stage, fleet: Fleet, operator: OperatorProcess
) -> None:
    """v2 is deployed under v1's runs: they end on v1, new ones start on v2, and v1 goes away after its last run."""
    fleet.deploy("v1", replicas=2)
    fleet.wait_active("v1")
    fleet.start("old", steps=80, seconds=0.1)
    fleet.wait_step("old", 5)
    fleet.deploy("v2", replicas=2)
    fleet.wait_active("v2")
    fleet.start("new", steps=2)
    new = fleet.wait_phase("new", "Succeeded")
    draining, drained = fleet.version("v1"), fleet.condition("Drained")
    old = fleet.wait_phase("old", "Succeeded")

    assert new["version"] == "v2"
    assert new["result"] == {"code": "v2", "steps": 2, "padding": "", "nothing": None}
    assert (draining["phase"], draining["open"], drained["status"]) == ("Draining", 1, "False")
    assert draining["blockedBy"]
    assert (old["version"], old["result"]["code"], old["epoch"]) == ("v1", "v1", 1)
    stage.wait_for("v1's pods to go away", lambda: not fleet.pods("v1"), 20)
    assert fleet.version("v1")["phase"] == "Retired"
    assert fleet.condition("Drained")["status"] == "True"
    assert {line.version for line in fleet.traced("old")} == {"v1"}


@pytest.mark.case("draining: SIGKILL mid-run")
def test_a_killed_pod_costs_no_recorded_step(stage: Stage, fleet: Fleet, operator: OperatorProcess) -> None:
    """The process dies by SIGKILL in the middle of a step: the run goes on elsewhere, and only that step runs again."""
    fleet.deploy("v1", replicas=2)
    fleet.wait_active("v1")
    fleet.start("run", steps=30, seconds=0.1)
    fleet.wait_step("run", 12)
    first = fleet.run("run")
    os.kill(stage.pod_pid(first["podUID"]), signal.SIGKILL)
    last = fleet.wait_phase("run", "Succeeded")

    assert (last["epoch"], last["result"]["steps"]) == (2, 30)
    assert last["podUID"] != first["podUID"]
    repeated = fleet.repeated("run")
    assert len(repeated) <= 1
    assert all(step >= 12 for step in repeated)
    assert {line.step for line in fleet.traced("run")} == set(range(1, 31))


@pytest.mark.case("INV-5")
def test_runs_created_after_a_promote_returned_go_to_the_new_version(
    stage: Stage, fleet: Fleet, operator: OperatorProcess
) -> None:
    """INV-5: the active version is a register; a run created after it was read as v2 is never pinned to v1."""
    fleet.deploy("v1", runsPerPod=50)
    fleet.wait_active("v1")
    fleet.deploy("v2", runsPerPod=50)
    after = set[str]()
    for n in range(200):
        is_switched = fleet.status().get("activeVersion") == "v2"
        fleet.start(f"run-{n}", steps=1, seconds=0)
        if is_switched:
            after.add(f"run-{n}")
        if len(after) > 5:
            break
    pins = {name: fleet.wait_phase(name, "Succeeded")["version"] for name in sorted(after)}

    assert len(pins) > 5
    assert set(pins.values()) == {"v2"}


def list_exactly(stage: Stage, fleet: Fleet, resource_version: str) -> list[Json]:
    """Every run of the namespace at exactly that resourceVersion."""
    path = f"/apis/pinfleet.dev/v1alpha1/namespaces/{fleet.namespace}/agentruns"
    query = f"resourceVersion={resource_version}&resourceVersionMatch=Exact"
    items: list[Json] = json.loads(stage.kubectl("get", "--raw", f"{path}?{query}"))["items"]
    return items


def recount(runs: list[Json], version: str) -> dict[str, int]:
    """A version's counts by brute force."""
    phases = [run["status"]["phase"] for run in runs if run["status"].get("version") == version]
    names = {"running": "Running", "parked": "Parked", "pending": "Pending", "held": "Held"}
    counts = {name: phases.count(phase) for name, phase in names.items()}
    return counts | {"open": sum(counts.values())}


def test_counts_equal_a_list_at_their_resource_version(stage: Stage, fleet: Fleet, operator: OperatorProcess) -> None:
    """Under churn, the status's counts are those of a LIST at exactly the resourceVersion that it names."""
    fleet.deploy("v1", replicas=2, runsPerPod=20)
    fleet.wait_active("v1")
    compared, seen = 0, set[str]()
    for n in range(40):
        fleet.start(f"run-{n}", steps=10, seconds=0.1, sleep_after=3 if n % 3 == 0 else 0, sleep_seconds=2)
        status = fleet.status()
        at = status["countedAtResourceVersion"]
        shown = next(v for v in status["versions"] if v["name"] == "v1")
        expected = recount(list_exactly(stage, fleet, at), "v1")

        assert {name: shown[name] for name in expected} == expected
        compared += at not in seen
        seen.add(at)
    assert compared >= 3


@pytest.mark.case("INV-15")
def test_a_run_costs_three_writes(stage: Stage, fleet: Fleet, operator: OperatorProcess) -> None:
    """INV-15: create, assign, end; parking and waking cost two more."""
    fleet.deploy("v1")
    fleet.wait_active("v1")
    fleet.start("plain", steps=3)
    fleet.start("parks", steps=3, sleep_after=1, sleep_seconds=2)
    for name in ("plain", "parks"):
        fleet.wait_phase(name, "Succeeded")

    def writes(name: str) -> list[str]:
        events = (json.loads(line) for line in stage.cluster.audit_log.read_text().splitlines())
        return [
            event["verb"]
            for event in events
            if event.get("objectRef", {}).get("namespace") == fleet.namespace
            and event["objectRef"].get("resource") == "agentruns"
            and event["objectRef"].get("name") == name
            and event["verb"] in {"create", "patch", "update", "delete"}
        ]

    assert writes("plain").count("patch") == 2
    assert writes("parks").count("patch") == 4


@pytest.mark.case("INV-8")
def test_a_settled_fleet_is_not_written(stage: Stage, fleet: Fleet, operator: OperatorProcess) -> None:
    """INV-8: nothing changes, so the operator writes nothing, its Lease excepted."""
    fleet.deploy("v1", replicas=2)
    fleet.wait_active("v1")
    fleet.start("run", steps=2)
    fleet.wait_phase("run", "Succeeded")
    stage.wait_for("the counts to be written", lambda: fleet.version("v1").get("open") == 0)

    def writes() -> int:
        events = (json.loads(line) for line in stage.cluster.audit_log.read_text().splitlines())
        return sum(
            1
            for event in events
            if event["user"]["username"].endswith(":pinfleet-operator")
            and event["verb"] in {"create", "patch", "update", "delete"}
            and event["objectRef"]["resource"] != "leases"
            and event["objectRef"].get("namespace") == fleet.namespace
        )

    stage.wait_for("10 s without a write", _quiet_for(10, writes), 40)
    before = writes()
    until = time.monotonic() + 20
    stage.wait_for("20 s to pass", lambda: time.monotonic() > until or writes() != before, 30)
    assert writes() == before


def _quiet_for(seconds: float, count: Callable[[], int]) -> Callable[[], bool]:
    last: list[float] = [-1, 0.0]

    def is_quiet() -> bool:
        now, found = time.monotonic(), count()
        if found != last[0]:
            last[:] = [found, now]
        return now - last[1] >= seconds

    return is_quiet
