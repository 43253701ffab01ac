"""The operator as a user installs it: the chart's Deployment, two replicas, in the cluster, under its own account."""

import os
import signal
from collections.abc import Iterator

import pytest

from hack.render_chart import render
from hack.stage import SYSTEM_NAMESPACE, Json, Stage
from tests.integration.fleet import Fleet

pytestmark = pytest.mark.cluster

VALUES: Json = {
    "image": {"repository": "registry.local/pinfleet-operator", "tag": "test"},
    "crds": {"install": False},
}


@pytest.fixture
def installed(stage: Stage) -> Iterator[Stage]:
    """The chart's objects, applied; its Deployment is removed afterwards."""
    for manifest in render(namespace=SYSTEM_NAMESPACE, values=VALUES):
        stage.apply(manifest)
    stage.kubectl("rollout", "status", "deployment/pinfleet-operator", "-n", SYSTEM_NAMESPACE, "--timeout=50s")
    yield stage
    stage.kubectl("delete", "deployment", "pinfleet-operator", "-n", SYSTEM_NAMESPACE)
    stage.wait_for("the operators to go", lambda: not stage.list("pods", SYSTEM_NAMESPACE), 40)


def lease(stage: Stage) -> Json:
    """Who leads, and in which term."""
    spec: Json = stage.get("lease", "pinfleet-operator", SYSTEM_NAMESPACE)["spec"]
    return spec


@pytest.mark.case("INV-20")
def test_another_term_begins_when_the_leader_dies(installed: Stage, fleet: Fleet) -> None:
    """The leader dies by SIGKILL in the middle of a run: the next term goes on, and nothing happens twice."""
    fleet.deploy("v1")
    fleet.wait_active("v1", 40)
    fleet.start("run", steps=60, seconds=0.1, sleep_after=30, sleep_seconds=12)
    fleet.wait_step("run", 5)
    term = lease(installed)
    leader = term["holderIdentity"].partition("_")[0]
    uid = installed.get("pod", leader, SYSTEM_NAMESPACE)["metadata"]["uid"]
    os.kill(installed.pod_pid(uid, "operator"), signal.SIGKILL)
    installed.wait_for("another term", lambda: lease(installed)["leaseTransitions"] > term["leaseTransitions"], 30)
    fleet.start("new", steps=1)

    assert fleet.wait_phase("new", "Succeeded")["attempts"] == 1
    assert fleet.wait_phase("run", "Succeeded", seconds=60)["attempts"] == 1
    assert fleet.repeated("run") == {}
