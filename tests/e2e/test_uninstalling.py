"""What docs/uninstalling.md says about the wrong order, done; its command is taken from the page."""

import os
import re
import subprocess
from pathlib import Path

from hack.stage import SYSTEM_NAMESPACE
from tests.e2e.fleet import RealFleet

PAGE = Path(__file__).resolve().parents[2] / "docs" / "uninstalling.md"
CRDS = tuple(f"{kind}.pinfleet.dev" for kind in ("agentdeployments", "agentversions", "agentruns", "agentapprovals"))


def give_up(fleet: RealFleet) -> None:
    """Run the page's command in a shell."""
    (command,) = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    cluster = fleet.stage.cluster
    environment = os.environ | {
        "KUBECONFIG": str(cluster.kubeconfig),
        "PATH": f"{cluster.kubectl.parent}:{os.environ['PATH']}",
    }
    subprocess.run(["/bin/sh", "-ec", command], env=environment, check=True, timeout=120)


def with_a_long_run(fleet: RealFleet) -> None:
    """A fleet with a run that would go on for half an hour."""
    fleet.deploy("v1", replicas=1)
    fleet.wait_active("v1", 120)
    fleet.start("open", steps=4000, seconds=0.5)
    fleet.wait_step("open", 2, 60)


def without_the_operator(fleet: RealFleet) -> None:
    """The release is uninstalled, and its pods are gone."""
    fleet.stage.uninstall()
    selector = ("-l", "app.kubernetes.io/component=operator")
    fleet.stage.wait_for("no operator", lambda: not fleet.stage.list("pods", SYSTEM_NAMESPACE, *selector), 60)


def is_namespace_gone(fleet: RealFleet) -> bool:
    """Whether the fleet's namespace is no more."""
    return not fleet.stage.exists("namespace", fleet.namespace)


def test_the_operator_goes_first_and_comes_back(fleet: RealFleet) -> None:
    """Without an operator the run goes on; a deleted fleet waits, and goes once the operator is installed again."""
    fleet.deploy("v1", replicas=1)
    fleet.wait_active("v1", 120)
    fleet.start("open", steps=40, seconds=0.5)
    fleet.wait_step("open", 2, 60)
    without_the_operator(fleet)
    fleet.stage.kubectl("delete", "agentdeployment", fleet.name, "-n", fleet.namespace, "--wait=false")
    fleet.wait_step("open", 30, 90)
    assert fleet.stage.exists("agentdeployment", fleet.name, fleet.namespace)
    fleet.stage.install()
    assert fleet.wait_phase("open", "Succeeded", seconds=120)["result"]["code"] == "v1"
    fleet.check_whole("open", 40)
    gone = lambda: not fleet.stage.exists("agentdeployment", fleet.name, fleet.namespace)  # noqa: E731
    fleet.stage.wait_for("the fleet to go", gone, 90)


def test_a_namespace_is_stuck_without_the_operator(fleet: RealFleet) -> None:
    """The operator gone, a deleted namespace names the finalizer that it waits for; the page's command lets it go."""
    with_a_long_run(fleet)
    without_the_operator(fleet)
    fleet.stage.kubectl("delete", "namespace", fleet.namespace, "--wait=false")

    def says_why() -> bool:
        conditions = fleet.stage.get("namespace", fleet.namespace).get("status", {}).get("conditions", [])
        return any("pinfleet.dev/versions" in condition["message"] for condition in conditions)

    fleet.stage.wait_for("the namespace to name the finalizer", says_why, 60)
    give_up(fleet)
    fleet.stage.wait_for("the namespace to go", lambda: is_namespace_gone(fleet), 120)


def test_the_operator_and_then_the_crds_go(fleet: RealFleet) -> None:
    """The operator gone, a deleted CRD waits for its fleets; the page's command frees all of them, and pods go too."""
    with_a_long_run(fleet)
    without_the_operator(fleet)
    fleet.stage.kubectl("delete", "crd", "agentdeployments.pinfleet.dev", "--wait=false")
    give_up(fleet)
    fleet.stage.kubectl("delete", "crd", *CRDS, "--ignore-not-found", "--timeout=50s")
    fleet.stage.wait_for("the pods to go", lambda: not fleet.pods(), 60)
    assert not any(fleet.stage.exists("crd", name) for name in CRDS)


def test_the_crds_go_first(fleet: RealFleet) -> None:
    """CRDs deleted under a running operator go, with runs, fleets and pods; brought back, the operator serves again."""
    with_a_long_run(fleet)
    fleet.stage.kubectl("delete", "crd", *CRDS, "--wait=false")
    fleet.stage.wait_for("the CRDs to go", lambda: not any(fleet.stage.exists("crd", name) for name in CRDS), 150)
    fleet.stage.wait_for("the pods to go", lambda: not fleet.pods(), 90)
    fleet.stage.upgrade()
    fleet.deploy("v2", replicas=1)
    fleet.wait_active("v2", 200)
    fleet.start("again", steps=2)
    assert fleet.wait_phase("again", "Succeeded", seconds=60)["result"]["code"] == "v2"
