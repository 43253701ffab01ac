"""Whole rollouts on the toy cluster; its checkers look at every action on the way."""

import math
from dataclasses import replace

import pytest

from pinfleet_operator.plan import actions as do
from pinfleet_operator.plan.decide import plan
from pinfleet_operator.plan.world import World
from tests.unit.operator.plan.toy import Planner, Toy
from tests.unit.operator.plan.worlds import a_spec


def started(**spec: object) -> Toy:
    """A fleet whose first version is active."""
    toy = Toy()
    toy.edit("v1", **spec)
    toy.settle()
    return toy


def test_a_new_fleet_gets_its_version_its_pod_and_new_runs() -> None:
    """The first version becomes active when its pods serve, and new runs go to it."""
    toy = started()
    run = toy.new_run()
    assert (toy.phases(), run.version, run.phase) == ({"v1": "Active"}, "v1", "Running")


def test_old_runs_end_on_the_old_version_while_new_runs_go_to_the_new_one() -> None:
    """A rollout in the middle of a run moves new runs only; the old version goes when its last run has ended."""
    toy = started()
    old = toy.new_run()
    toy.edit("v2")
    toy.settle()
    new = toy.new_run()
    assert (old.version, old.phase, new.version) == ("v1", "Running", "v2")
    assert toy.phases() == {"v2": "Active", "v1": "Draining"}
    toy.end_run(0)
    toy.settle()
    assert toy.phases() == {"v2": "Active", "v1": "Retired"}
    assert toy.outline()["pods"] == ["support.v2"]


def seconds_to_retire(planner: Planner) -> float:
    """Time from the end of an old version's last run to its retirement on record."""
    toy = started()
    toy.new_run()
    toy.edit("v2")
    toy.settle()
    toy.pass_time(3600)
    toy.end_run(0)
    toy.planner = planner
    toy.settle()
    retired_at = {each.name: each.retired_at for each in toy.status.versions}["v1"]
    return math.inf if retired_at is None else (retired_at - toy.ended_at["v1"]).total_seconds()


def never_counting(world: World) -> do.Plan:
    """Forgets to count."""
    made = plan(world)
    return do.Plan(tuple(each for each in made.actions if not isinstance(each, do.ConfirmEmpty)), None)


@pytest.mark.case("INV-7")
def test_a_version_retires_within_two_seconds_of_its_last_run() -> None:
    """INV-7: with no delay asked for, the retirement is on record two seconds after; a planner that forgets is seen."""
    assert seconds_to_retire(plan) <= 2
    assert seconds_to_retire(never_counting) == math.inf


def test_a_drained_version_keeps_its_pods_for_the_delay() -> None:
    """drain.retireDelaySeconds keeps the pods of an empty version, so that going back is instant."""
    toy = started(drain={"retireDelaySeconds": 600})
    toy.edit("v2", drain={"retireDelaySeconds": 600})
    toy.settle()
    assert toy.outline()["pods"] == ["support.v1", "support.v2"]
    toy.pass_time(601)
    toy.settle()
    assert (toy.outline()["pods"], toy.phases()["v1"]) == (["support.v2"], "Retired")


@pytest.mark.case("draining: a candidate is superseded before it was active")
def test_a_spec_edited_mid_rollout_supersedes_the_candidate() -> None:
    """The active version is untouched by a candidate that is given up."""
    toy = started()
    toy.edit("v2")
    toy.once()
    toy.once()  # v2 is made, its pod is not ready yet
    toy.edit("v3")
    toy.once()
    assert toy.status.active_version == "v1"
    toy.settle()
    assert toy.phases() == {"v3": "Active", "v2": "Superseded", "v1": "Retired"}
    assert toy.outline()["pods"] == ["support.v3"]


def there_and_back(planner: Planner) -> tuple[Toy, bool]:
    """A fleet after v1, v2 and v1 again, and whether it stands as before."""
    toy = started()
    before = toy.outline()
    toy.planner = planner
    toy.edit("v2")
    toy.settle()
    toy.edit("v1")
    toy.settle()
    return toy, toy.outline() == before


def never_going_back(world: World) -> do.Plan:
    """Takes the newest version for the wanted one, whatever the spec says."""
    newest = max((each.id for each in world.versions), default="v1")
    if world.fleet is None or world.fleet.spec is None or world.fleet.spec.version == max(newest, "v2"):
        return plan(world)
    return plan(replace(world, fleet=replace(world.fleet, spec=a_spec(newest))))


@pytest.mark.case("INV-11")
def test_going_back_leads_to_the_earlier_state() -> None:
    """INV-11: an old spec applied again revives its version; a planner that knows only forward is seen."""
    toy, is_back = there_and_back(plan)
    assert is_back
    assert [each.revision for each in toy.status.versions if each.name == "v1"] == [3]
    assert not there_and_back(never_going_back)[1]


def test_going_back_mid_rollout_needs_no_rollout() -> None:
    """INV-11: reverting before the switch leaves the active version active, and the candidate goes."""
    toy = started()
    before = toy.outline()
    toy.edit("v2")
    toy.once()
    toy.once()
    toy.edit("v1")
    toy.settle()
    assert toy.outline() == before
    assert not [each for each in toy.writes if isinstance(each, do.Promote)][1:]


@pytest.mark.case("draining: a run is pinned while its version drains to zero")
def test_a_run_found_on_a_retired_version_brings_its_pods_back() -> None:
    """A run that slipped in is served: the version drains again."""
    toy = started()
    run = toy.new_run()
    toy.edit("v2")
    toy.settle()
    toy.end_run(0)
    toy.settle()
    run.phase = "Pending"
    toy.settle()
    assert (toy.phases()["v1"], run.phase) == ("Draining", "Running")


@pytest.mark.case("draining: a version is deleted by hand while its runs are open")
def test_a_version_deleted_by_hand_is_named_while_its_runs_are_open() -> None:
    """The status says which runs cannot go on, and applying the spec again mends it."""
    toy = started()
    run = toy.new_run()
    toy.edit("v2")
    toy.settle()
    uid = next(uid for uid, record in toy.records.items() if record.id == "v1")
    toy.pods = {key: pod for key, pod in toy.pods.items() if pod.record.version_uid != uid}
    del toy.records[uid]
    run.phase, run.pod = "Pending", None
    toy.pass_time(10)
    toy.settle()
    entry = {each.name: each for each in toy.status.versions}["v1"]
    assert (entry.phase, entry.open, "AgentVersion is gone" in (entry.blocked_by or "")) == ("Failed", 1, True)
    toy.edit("v1")
    toy.settle()
    assert run.phase == "Running"


@pytest.mark.case("draining: a fleet is deleted while its pods live")
def test_a_deleted_fleet_drains_first() -> None:
    """With deletePolicy Drain the object stays until the last run has ended, and takes no new runs."""
    toy = started()
    toy.new_run()
    toy.delete()
    toy.settle()
    late = toy.new_run()
    assert (toy.is_gone, late.version, toy.phases()) == (False, None, {"v1": "Draining"})
    toy.end_run(0)
    toy.settle()
    assert (toy.is_gone, toy.is_bare) == (True, True)


def test_versions_of_a_vanished_fleet_are_swept() -> None:
    """INV-9: a fleet whose finalizer was taken away by hand leaves no version and no pod behind."""
    toy = started()
    toy.new_run()
    toy.is_gone = True
    toy.settle()
    assert toy.view is not None
    assert toy.view.cancels_runs
    toy.end_run(0)
    toy.settle()
    assert toy.is_bare


def test_history_is_bounded() -> None:
    """Retired versions beyond versionHistoryLimit are deleted, the oldest first, never the active one."""
    toy = started(versionHistoryLimit=2)
    for name in ("v2", "v3", "v4", "v5"):
        toy.edit(name, versionHistoryLimit=2)
        toy.settle()
    assert toy.phases() == {"v5": "Active", "v4": "Retired", "v3": "Retired"}


def test_fifty_live_versions_are_no_trouble() -> None:
    """A fleet with a run on each of fifty versions keeps one pod for each."""
    toy = started()
    for number in range(2, 51):
        toy.new_run()
        toy.edit(f"v{number}")
        toy.settle()
    assert len(toy.outline()["pods"]) == 50
    assert sum(phase == "Draining" for phase in toy.phases().values()) == 49


def test_pods_follow_the_runs_and_leave_after_a_minute() -> None:
    """The active version grows with its runs and shrinks once pods were empty for 60 s."""
    toy = started(runsPerPod=2, maxReplicas=3)
    for _ in range(5):
        toy.new_run()
        toy.settle()
    assert len(toy.outline()["pods"]) == 3
    for _ in range(5):
        toy.end_run(0)
    toy.settle()
    assert len(toy.outline()["pods"]) == 3
    toy.pass_time(61)
    toy.settle()
    assert len(toy.outline()["pods"]) == 1


@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_a_rollout_costs_few_writes(replicas: int) -> None:
    """INV-15: a change of a fleet costs at most 12 writes and 2 for each pod."""
    toy = started(replicas=replicas)
    toy.pass_time(60)
    toy.settle()
    toy.writes.clear()
    toy.edit("v2", replicas=replicas)
    toy.settle()
    real = [each for each in toy.writes if not isinstance(each, do.ClosePod | do.ReopenPod | do.ConfirmEmpty)]
    pods = 2 * replicas  # of the new version and of the old one
    assert len(real) <= 12 + 2 * pods
