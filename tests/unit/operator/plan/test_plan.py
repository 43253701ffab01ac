"""Tables of the planner: a sentence, a world, and the whole plan."""

from dataclasses import replace

import msgspec
import pytest

from pinfleet_operator.api.models.agent_deployment import AgentDeploymentStatus
from pinfleet_operator.plan import actions as do
from pinfleet_operator.plan.decide import plan
from pinfleet_operator.plan.desired import Desired, find_desired
from pinfleet_operator.plan.world import PodView, Reach, Refusal, World
from tests.unit.operator.plan.situations import (
    CLOSED,
    CONFIRM,
    CORDONED,
    DEAD,
    DEAD_LONG,
    EMPTY,
    ENDING,
    EVICTED,
    FULL,
    HALF,
    HALF_STUCK,
    HUNG,
    LATELY,
    OWNING,
    SHORTLY,
    SILENT,
    STARTING,
    STILL_READY,
    STUCK,
    UNHEARD,
    Row,
    active,
    acts,
    close,
    conditions_of,
    cordon,
    create,
    delete,
    draining,
    recorded,
)
from tests.unit.operator.plan.worlds import (
    NOW,
    a_fleet,
    a_pod,
    a_record,
    a_spec,
    a_status,
    a_version,
    a_world,
    ago,
    an_entry,
    gone,
    open_runs,
)

ACTIVE_PODS: list[Row] = [
    ("a served version with its one pod needs nothing", active(FULL, runs=open_runs(10)), (), None),
    ("ten runs and an eleventh need two pods", active(FULL, runs=open_runs(10, pending=1)), (create(1),), None),
    ("unpinned runs need pods too", active(FULL, runs=open_runs(10), unpinned=15), (create(1), create(2)), None),
    ("parked runs need none", active(EMPTY, runs=open_runs(parked=40)), (), None),
    ("a dead pod's place is taken at once if it had served for long", active(DEAD_LONG), (create(1),), None),
    ("a pod that died young is waited for", active(DEAD), (), 5.0),
    ("and is buried, without another trigger, once a later pod was ready for a minute",
     active(DEAD, a_pod(1, runs=10, created_at=ago(4), ready_since=ago(20)), runs=open_runs(10)), (), 40.0),
    ("an evicted pod is replaced and buried", active(EVICTED), (delete(EVICTED), create(1)), None),
    ("a dead pod stays until its runs are assigned anew", active(OWNING), (create(1),), None),
    ("a pod that ends has a successor under another name", active(ENDING), (create(1),), None),
    ("an empty pod above the floor is closed after a minute", active(FULL, EMPTY, runs=open_runs(10)),
     (close(EMPTY),), 0.0),
    ("but not before", active(FULL, LATELY, runs=open_runs(10)), (), 40.0),
    ("a closed pod that is seen empty is cordoned", active(FULL, CLOSED, runs=open_runs(10)), (cordon(CLOSED),), 0.0),
    ("a closed pod that is needed is opened again", active(FULL, CLOSED, runs=open_runs(10, pending=5)),
     (do.ReopenPod(CLOSED.record.uid),), None),
    ("a Ready pod that was never heard may hold runs: it stays", active(FULL, UNHEARD, runs=open_runs(10)), (), None),
    ("a cordoned pod that is empty is deleted", active(FULL, CORDONED, runs=open_runs(10)), (delete(CORDONED),), None),
    ("a cordoned pod with runs is not", active(FULL, replace(CORDONED, runs=1), runs=open_runs(11)),
     (create(1),), None),
    ("pods with runs are never chosen", active(FULL, HALF, runs=open_runs(1)), (), None),
]  # fmt: skip

STUCK_SLOTS: list[Row] = [
    ("slots that hang take no run: a run that waits gets another pod",
     active(STUCK, runs=open_runs(pending=1)), (create(1),), None),
    ("a pod with free slots is enough", active(HALF_STUCK, EMPTY, runs=open_runs(4, pending=1)), (), None),
    ("a pod half of whose slots hang is full sooner", active(HALF_STUCK, runs=open_runs(4, pending=1)),
     (create(1),), None),
    ("a container that holds fewer runs than runsPerPod gets as many pods as that takes",
     active(HALF_STUCK, runs=open_runs(4, pending=5)), (create(1),), None),
    ("no more pods than maxReplicas",
     active(STUCK, runs=open_runs(pending=1), fleet=a_fleet(a_spec(maxReplicas=1), status=a_status("v1", v1="Active"))),
     (), None),
    ("a pod that starts is counted as whole: it is not made again",
     active(STUCK, replace(STARTING, record=a_pod(1, ready=False).record), runs=open_runs(pending=1)), (), None),
    ("with a pod that serves, the stuck one goes", active(STUCK, HALF, runs=open_runs(5)), (close(STUCK),), 0.0),
    ("of two idle pods the stuck one goes", active(STUCK, EMPTY), (close(STUCK),), 0.0),
    ("a draining version's run is not starved either", draining(STUCK, counts=open_runs(pending=1)),
     (create(1),), None),
    ("and its stuck pod goes once another serves", draining(STUCK, EMPTY, counts=open_runs(pending=1)),
     (close(STUCK), cordon(STUCK)), 0.0),
]  # fmt: skip

LOST_PODS: list[Row] = [
    ("a pod that is silent and not Ready for 30 s is lost, and replaced", active(SILENT, runs=open_runs(3)),
     (cordon(SILENT), create(1)), None),
    ("a pod that is silent for 10 s is not", active(SHORTLY, runs=open_runs(3)), (), 20.0),
    ("a pod that its kubelet calls Ready is not", active(STILL_READY, runs=open_runs(3)), (), None),
    ("a pod that never served is starting", active(STARTING), (), None),
    ("with most pods silent, our own network is the likelier fault: none is deleted",
     active(SILENT, runs=open_runs(3), reach=Reach(5, 3)), (), None),
    ("a lost pod that is cordoned is deleted with its runs",
     active(replace(SILENT, record=msgspec.structs.replace(SILENT.record, cordoned=True)), runs=open_runs(3)),
     (delete(SILENT), create(1)), None),
]  # fmt: skip

DRAINING_PODS: list[Row] = [
    ("a draining version keeps the pods that hold runs", draining(FULL, HALF, counts=open_runs(15)), (), None),
    ("and gives its empty ones back at once", draining(FULL, EMPTY, counts=open_runs(10)),
     (close(EMPTY), cordon(EMPTY)), 0.0),
    ("a run without a slot gets one more pod", draining(FULL, counts=open_runs(10, pending=1)), (create(1),), None),
    ("a run that fits into a pod gets none", draining(HALF, counts=open_runs(5, pending=1)), (), None),
    ("a due run without a slot gets one", draining(FULL, counts=open_runs(10, parked=1), due=1), (create(1),), None),
    ("a version whose runs are all parked keeps one pod", draining(EMPTY, counts=open_runs(parked=9)), (), None),
    ("a store's zero is not believed: it is counted", draining(EMPTY), (CONFIRM,), 0.0),
    ("a confirmed zero lets the pods go", draining(EMPTY, is_confirmed_empty=True),
     (close(EMPTY), cordon(EMPTY)), 0.0),
    ("not before it is recorded that it drains",
     draining(EMPTY, is_confirmed_empty=True, is_synced=False), (), 1.0),
    ("a pod that lists a run keeps the version", draining(a_pod(0, runs=1), is_confirmed_empty=True), (), None),
    ("a deletion under way is waited for", draining(ENDING, is_confirmed_empty=True), (), 280.0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("sentence", "world", "actions", "again"), ACTIVE_PODS + STUCK_SLOTS + LOST_PODS + DRAINING_PODS
)
@pytest.mark.case("draining: a scale-down meets a busy pod")
def test_pods(sentence: str, world: World, actions: tuple[do.Action, ...], again: float | None) -> None:
    """Each sentence of the table is true of its world."""
    assert acts(world) == (actions, again), sentence


def phase_of(world: World, version: str) -> str:
    """The phase that the plan writes for a version."""
    status = recorded(world).fleet
    assert status is not None
    return next(each.phase for each in status.status.versions if each.name == version)


PHASES = [
    ("pods not ready: Preparing", a_world(a_version(pods=(STARTING,))), "Preparing"),
    ("pods refused: Failed", a_world(a_version(refusal=Refusal("quota", 1, NOW))), "Failed"),
    ("a deletion that hangs counts as done: Retired", draining(HUNG, is_confirmed_empty=True), "Retired"),
    ("open runs: Draining", draining(FULL, counts=open_runs(10)), "Draining"),
    ("a retired version with a run drains again",
     draining(fleet=a_fleet(a_spec("v2"), status=a_status("v2", v1="Retired", v2="Active")), counts=open_runs(1)),
     "Draining"),
    ("given up before it was active: Superseded",
     draining(fleet=a_fleet(a_spec("v2"), status=a_status("v2", v1="Candidate", v2="Active"))), "Superseded"),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "world", "phase"), PHASES)
def test_phases(sentence: str, world: World, phase: str) -> None:
    """A version's phase is derived from its pods, its runs and what was recorded."""
    assert phase_of(world, "v1") == phase, sentence


def test_the_first_version_is_made_behind_a_finalizer() -> None:
    """A new fleet: the finalizer first, then the version, and a status that says what happens."""
    world = a_world(fleet=a_fleet(finalizers=()))
    found = find_desired(world)
    assert isinstance(found, Desired)
    assert found.draft is not None
    made = plan(world)
    assert made.actions[:2] == (do.AddFinalizer(), do.CreateVersion(found.draft))
    assert [type(each).__name__ for each in made.actions[2:]] == ["WriteStatus", "SetFleet"]
    assert made.requeue_after == 0.0


def test_a_new_version_gets_its_secret_before_its_pods() -> None:
    """Pods would wait for the Secret; its owner, the version, must be there before it."""
    made = plan(a_world(a_version(secret_written_at=None), fleet=a_fleet(a_spec(replicas=2))))
    assert made.actions[:3] == (do.WriteSecret("v1", "v1-uid"), create(0), create(1))


@pytest.mark.parametrize(
    ("pod_age", "written", "expected"),
    [
        (20, 3600, (do.WriteSecret("v1", "v1-uid"),)),  # written long before the pod, and since then perhaps deleted
        (20, 2, ()),  # written for this pod already: it lacks something else
        (10, 3600, None),  # young: it is looked at again when it is 15 s old
    ],
)
def test_the_secret_is_written_again_for_a_pod_that_does_not_start(
    pod_age: float, written: float, expected: tuple[do.Action, ...] | None
) -> None:
    """Somebody may have deleted it, and the operator reads no Secret: once for each pod without an address."""
    stuck = a_pod(0, ready=False, ip=None, created_at=ago(pod_age), has_answered=False)
    made = plan(recorded(a_world(a_version(pods=(stuck,), secret_written_at=ago(written)), fleet=a_fleet())))
    found = tuple(each for each in made.actions if isinstance(each, do.WriteSecret))
    assert found == (expected or ())
    assert (made.requeue_after == 5.0) == (expected is None)


def test_the_switch_is_one_write_with_the_rest_of_the_status() -> None:
    """INV-5: a ready candidate becomes active by the same write that makes the old version drain."""
    old = a_version(pods=(FULL,), counts=open_runs(10))
    new = a_version("v2", 2, pods=(a_pod(0, "v2"),))
    made = plan(a_world(old, new, fleet=a_fleet(a_spec("v2"), status=a_status("v1", v1="Active", v2="Preparing"))))
    promotes = [each for each in made.actions if isinstance(each, do.Promote)]
    assert [type(each).__name__ for each in made.actions] == ["Promote", "MirrorStatus", "MirrorStatus"]
    status = promotes[0].status
    assert (status.active_version, status.candidate_version) == ("v2", None)
    assert {each.name: (each.phase, each.draining_since) for each in status.versions} == {
        "v2": ("Active", None),
        "v1": ("Draining", NOW),
    }
    assert promotes[0].view.active_version == "v2"


@pytest.mark.parametrize(
    ("pods", "replicas"),
    [
        ((), 0),
        ((a_pod(0, "v2", answers=False),), 1),
        ((a_pod(0, "v2", ready=False, answers=True),), 1),
        ((a_pod(0, "v2"),), 2),
        ((a_pod(0, "v2", deleting=True),), 1),
        ((a_pod(0, "v2", cordoned=True),), 1),
    ],
)
def test_no_switch_before_the_candidate_serves(pods: tuple[PodView, ...], replicas: int) -> None:
    """Ready by Kubernetes and answering as the right version, on max(1, replicas) pods."""
    spec = a_spec("v2", replicas=replicas)
    world = a_world(a_version(), a_version("v2", 2, pods=pods), fleet=a_fleet(spec, status=a_status("v1", v1="Active")))
    assert not [each for each in plan(world).actions if isinstance(each, do.Promote)]


def test_a_deleted_fleet_without_versions_goes() -> None:
    """The finalizer is the last thing that is taken away."""
    made = plan(a_world(fleet=a_fleet(is_deleting=True)))
    assert [type(each).__name__ for each in made.actions] == ["SetFleet", "RemoveFinalizer"]


def test_a_fleet_that_is_gone_is_forgotten() -> None:
    """Without versions there is nothing to sweep."""
    assert plan(gone(a_world())) == do.Plan((do.DropFleet(),), None)


@pytest.mark.parametrize(
    ("policy", "is_namespace_ending", "cancels"),
    [("Drain", False, False), ("Cancel", False, True), ("Drain", True, True)],
)
def test_deletion_cancels_only_where_asked_or_forced(policy: str, is_namespace_ending: bool, cancels: bool) -> None:  # noqa: FBT001 - a table
    """DeletePolicy decides, but a namespace that ends always cancels."""
    fleet = a_fleet(a_spec(deletePolicy=policy), is_deleting=True, status=a_status("v1", v1="Draining"))
    made = plan(active(FULL, runs=open_runs(10), fleet=fleet, is_namespace_ending=is_namespace_ending))
    views = [each.view for each in made.actions if isinstance(each, do.SetFleet)]
    assert [(view.is_deleting, view.cancels_runs) for view in views] == [(True, cancels)]


def test_an_earlier_fleets_version_holds_the_name_until_it_is_swept() -> None:
    """INV-9: a fleet made anew under the same name neither inherits nor overwrites a version of the old one."""
    old = a_version(record=a_record(fleet_uid="old-uid"), pods=(HALF,), counts=open_runs(5))
    world = a_world(old, fleet=a_fleet(a_spec("v1")))
    assert not [each for each in plan(world).actions if isinstance(each, do.CreateVersion)]
    assert "earlier fleet" in conditions_of(world)["Reconciling"][2]
    swept = replace(old, counts=open_runs(), pods=(), is_confirmed_empty=True)
    status = AgentDeploymentStatus.model_validate({"versions": [an_entry("v1", "Superseded", 1)]})
    made = plan(a_world(swept, fleet=a_fleet(a_spec("v1"), status=status)))
    assert do.DeleteVersion("support.v1", "v1-uid", 600) in made.actions


def test_the_history_is_pruned_only_after_a_count() -> None:
    """A record beyond the limit is deleted once a consistent LIST finds no open run of it."""
    fleet = a_fleet(a_spec("v2", versionHistoryLimit=0), status=a_status("v2", v1="Retired", v2="Active"))
    assert acts(draining(fleet=fleet)) == ((CONFIRM,), 0.0)
    assert acts(draining(fleet=fleet, is_confirmed_empty=True)) == (
        (do.DeleteVersion("support.v1", "v1-uid", 600),),
        None,
    )


@pytest.mark.case("draining: the count is unknown")
def test_nothing_is_decided_on_an_unknown_state() -> None:
    """A store that has not listed everything yet scales nothing and writes nothing."""
    assert plan(draining(EMPTY, is_confirmed_empty=True, is_synced=False)) == do.Plan((), 1.0)
