"""Fleets and namespaces that are deleted while runs are open."""

from tests.e2e.fleet import RealFleet


def deployed_with_a_run(fleet: RealFleet, policy: str, steps: int) -> None:
    """A fleet with a run at its second step."""
    fleet.deploy("v1", replicas=1, deletePolicy=policy)
    fleet.wait_active("v1", 120)
    fleet.start("open", steps=steps, seconds=0.5)
    fleet.wait_step("open", 2, 60)


def test_a_foreground_deletion_drains(fleet: RealFleet) -> None:
    """`kubectl delete --cascade=foreground`, as GitOps tools do, waits for the open run; then all is gone."""
    deployed_with_a_run(fleet, "Drain", 16)
    pod = fleet.run("open")["podUID"]
    fleet.stage.kubectl(
        "delete", "agentdeployment", fleet.name, "-n", fleet.namespace, "--cascade=foreground", "--wait=false"
    )
    fleet.wait_step("open", 5, 60)
    assert fleet.stage.exists("agentdeployment", fleet.name, fleet.namespace)
    ended = fleet.wait_phase("open", "Succeeded", seconds=90)
    assert ended["result"]["code"] == "v1"
    assert {line.pod for line in fleet.traced("open")} == {pod}
    fleet.check_whole("open", 16)
    gone = lambda: not fleet.stage.exists("agentdeployment", fleet.name, fleet.namespace)  # noqa: E731
    fleet.stage.wait_for("the fleet to go", gone, 90)
    assert fleet.pods() == []
    assert fleet.stage.list("agentversions", fleet.namespace) == []


def test_a_deleted_namespace_goes(fleet: RealFleet) -> None:
    """Deleting the Kubernetes namespace completes, with an open run and deletePolicy Drain."""
    deployed_with_a_run(fleet, "Drain", 2000)
    fleet.stage.kubectl("delete", "namespace", fleet.namespace, "--wait=false")
    gone = lambda: not fleet.stage.exists("namespace", fleet.namespace)  # noqa: E731
    fleet.stage.wait_for("the namespace to go", gone, 150)
