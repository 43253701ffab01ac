"""Pods that vanish, do not answer, or never get ready."""

import json

import pytest

from hack.stage import OperatorProcess, Stage
from tests.integration.fleet import Fleet

pytestmark = pytest.mark.cluster

MISBEHAVE = "localcluster.pinfleet.dev/misbehave"
PROXIED = {"localcluster.pinfleet.dev/network": "proxied"}


def annotate(stage: Stage, fleet: Fleet, pod: str, value: str | None) -> None:
    """Make a pod misbehave, or behave again."""
    patch = {"metadata": {"annotations": {MISBEHAVE: value}}}
    stage.kubectl("patch", "pod", pod, "-n", fleet.namespace, "--type=merge", "-p", json.dumps(patch))


@pytest.mark.case("draining: a pod is evicted mid-run")
def test_an_evicted_run_goes_on_uncharged(stage: Stage, fleet: Fleet, operator: OperatorProcess) -> None:
    """After kubectl delete pod the run stops at a step boundary, goes on elsewhere, and no step runs twice."""
    fleet.deploy("v1", replicas=2)
    fleet.wait_active("v1")
    fleet.start("run", steps=40, seconds=0.1)
    fleet.wait_step("run", 5)
    pod = fleet.run("run")["pod"]
    stage.kubectl("delete", "pod", pod, "-n", fleet.namespace, "--wait=false")
    last = fleet.wait_phase("run", "Succeeded")

    assert (last["attempts"], last["epoch"]) == (1, 2)
    assert fleet.repeated("run") == {}


@pytest.mark.case("runs: a poll is cut, late, out of order or doubled")
def test_a_cut_poll_starts_nothing_twice(stage: Stage, fleet: Fleet, operator: OperatorProcess) -> None:
    """Rule 6: the operator cannot reach a pod that its kubelet reports Ready; the run goes on where it is."""
    fleet.deploy("v1", replicas=2, annotations=PROXIED)
    fleet.wait_active("v1")
    fleet.start("run", steps=80, seconds=0.1)
    fleet.wait_step("run", 5)
    before = fleet.run("run")
    annotate(stage, fleet, before["pod"], "unreachable")
    fleet.wait_step("run", 70)
    annotate(stage, fleet, before["pod"], None)
    last = fleet.wait_phase("run", "Succeeded")

    assert (last["epoch"], last["podUID"]) == (1, before["podUID"])
    assert fleet.repeated("run") == {}


def test_a_vanished_pod_is_replaced_and_its_run_goes_on(stage: Stage, fleet: Fleet, operator: OperatorProcess) -> None:
    """The machine is gone and says nothing: once its pod is deleted, the run goes on at its next step."""
    fleet.deploy("v1", replicas=2)
    fleet.wait_active("v1")
    fleet.start("run", steps=30, seconds=0.1)
    fleet.wait_step("run", 5)
    pod = fleet.run("run")["pod"]
    annotate(stage, fleet, pod, "vanish")
    stage.kubectl("delete", "pod", pod, "-n", fleet.namespace, "--grace-period=0", "--force")
    last = fleet.wait_phase("run", "Succeeded")

    assert last["epoch"] == 2
    assert len(fleet.repeated("run")) <= 1


@pytest.mark.case("draining: a candidate is superseded before it was active")
def test_a_label_that_is_taken_off_is_no_deletion(stage: Stage, fleet: Fleet, operator: OperatorProcess) -> None:
    """The watch loses sight of the pod; its run goes on there, is not started elsewhere, and the label is put back."""
    fleet.deploy("v1", replicas=2)
    fleet.wait_active("v1")
    fleet.start("run", steps=40, seconds=0.1)
    fleet.wait_step("run", 5)
    pod = fleet.run("run")["pod"]
    stage.kubectl("label", "pod", pod, "-n", fleet.namespace, "pinfleet.dev/version-")
    last = fleet.wait_phase("run", "Succeeded")

    assert (last["epoch"], fleet.repeated("run")) == (1, {})
    assert pod in {each["metadata"]["name"] for each in fleet.pods("v1")}


def test_a_candidate_that_never_gets_ready_changes_nothing(
    stage: Stage, fleet: Fleet, operator: OperatorProcess
) -> None:
    """v2 does not come up: v1 stays active and serves; a v3 that works takes over, and v2 is superseded."""
    fleet.deploy("v1")
    fleet.wait_active("v1")
    fleet.deploy("v2", annotations={MISBEHAVE: "never-ready"})
    stage.wait_for("v2 to be tried", lambda: fleet.pods("v2"), 20)
    fleet.start("run", steps=2)

    assert fleet.wait_phase("run", "Succeeded")["version"] == "v1"
    fleet.deploy("v3")
    fleet.wait_active("v3")
    stage.wait_for("v2's pods to go", lambda: not fleet.pods("v2"), 20)
    assert fleet.version("v2").get("phase", "Superseded") == "Superseded"
