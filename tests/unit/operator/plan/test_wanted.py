"""How many pods a version gets."""

import pytest

from pinfleet_operator.plan.leaving import Stage
from pinfleet_operator.plan.roles import Role
from pinfleet_operator.plan.wanted import pods_wanted
from tests.unit.operator.plan.worlds import a_fleet, a_pod, a_spec, a_version, a_world, open_runs


@pytest.mark.case("protocol: rule 17")
def test_a_run_that_goes_alone_gets_a_pod_beside_those_of_the_others() -> None:
    """Rule 17: one pod more for all that go alone, one after the other; never more than maxReplicas."""
    version = a_version(pods=(a_pod(0, runs=3),), counts=open_runs(running=3, pending=2), alone=2)
    for most, wanted in ((10, 2), (1, 1)):
        world = a_world(version, fleet=a_fleet(a_spec(replicas=1, max_replicas=most)))
        assert pods_wanted(world, version, Role.ACTIVE, None) == wanted


@pytest.mark.case("protocol: rule 17")
def test_a_draining_version_gets_a_pod_for_a_run_that_goes_alone() -> None:
    """Rule 17: free slots on pods that others have are none for it."""
    waits = a_version(pods=(a_pod(0, runs=3),), counts=open_runs(running=3, pending=1), alone=1)
    served = a_version(
        pods=(a_pod(0, runs=3), a_pod(1, runs=1, is_taken_alone=True)), counts=open_runs(running=4), alone=1
    )
    for version in (waits, served):
        world = a_world(version, fleet=a_fleet(a_spec("v2")))
        assert pods_wanted(world, version, Role.LEAVING, Stage.SERVING) == 2
