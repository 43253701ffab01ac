"""Properties of the planner over worlds that nobody thought of."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.operator.plan.worlds import (
    NOW,
    a_fleet,
    a_pod,
    a_spec,
    a_status,
    a_version,
    a_world,
    ago,
    open_runs,
)

from pinfleet_operator.plan import actions as do
from pinfleet_operator.plan.decide import plan
from pinfleet_operator.plan.pods import choose, lost_pods
from pinfleet_operator.plan.world import PodView, Reach, VersionView, World

PHASES = ("Preparing", "Candidate", "Active", "Draining", "Retired", "Failed", "Superseded")


@st.composite
def pods(draw: st.DrawFn, version: str) -> tuple[PodView, ...]:
    """Up to five pods in any state."""
    made = []
    for ordinal in range(draw(st.integers(0, 5))):
        phase = draw(st.sampled_from(["Running", "Running", "Running", "Pending", "Failed"]))
        runs = draw(st.integers(0, 3))
        made.append(
            a_pod(
                ordinal,
                version,
                ready=phase == "Running" and draw(st.booleans()),
                runs=runs,
                phase=phase,
                answers=draw(st.booleans()),
                has_answered=draw(st.booleans()),
                failing_since=draw(st.sampled_from([None, None, ago(5), ago(100)])),
                cordoned=draw(st.integers(0, 4)) == 0,
                deleting=draw(st.integers(0, 4)) == 0,
                is_closed=draw(st.booleans()),
                created_at=ago(draw(st.sampled_from([1, 50, 5000]))),
                empty_since=None if runs else ago(draw(st.sampled_from([1, 100]))),
            )
        )
    return tuple(made)


@st.composite
def versions(draw: st.DrawFn) -> tuple[VersionView, ...]:
    """Up to three versions with any runs."""
    made = []
    for number in range(1, draw(st.integers(0, 3)) + 1):
        counts = open_runs(*(draw(st.sampled_from([0, 0, 1, 12])) for _ in range(4)))
        made.append(
            a_version(
                f"v{number}",
                number,
                pods=draw(pods(f"v{number}")),
                counts=counts,
                due=draw(st.integers(0, counts.parked)),
                is_confirmed_empty=counts.open == 0 and draw(st.booleans()),
                empty_since=None if counts.open else ago(draw(st.sampled_from([1, 100]))),
            )
        )
    return tuple(made)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Any world."""
    found = draw(versions())
    phases = {each.id: draw(st.sampled_from(PHASES)) for each in found}
    active = draw(st.sampled_from([None, *phases]))
    phases = {name: "Active" if name == active else phase for name, phase in phases.items()}
    spec = a_spec(f"v{draw(st.integers(1, 4))}", replicas=draw(st.integers(0, 3)), runsPerPod=10)
    fleet = a_fleet(spec, status=a_status(active, **phases), is_deleting=draw(st.integers(0, 5)) == 0)
    world = a_world(
        *found,
        fleet=fleet,
        unpinned=draw(st.integers(0, 20)),
        reach=Reach(draw(st.integers(0, 5)), draw(st.integers(0, 5))),
        is_synced=draw(st.integers(0, 9)) > 0,
        status_written_at=draw(st.sampled_from([None, NOW, ago(60)])),
        takes_no_pins=draw(st.booleans()),
    )
    return replace(world, fleet=None) if draw(st.integers(0, 9)) == 0 else world


@settings(max_examples=200, deadline=None)
@given(worlds(), st.randoms())
def test_the_order_in_which_things_are_seen_does_not_matter(world: World, random: object) -> None:
    """INV-12: the same world in any order gives an equal plan."""
    shuffle = random.shuffle  # type: ignore[attr-defined]
    mixed = []
    for version in world.versions:
        seen = list(version.pods)
        shuffle(seen)
        mixed.append(replace(version, pods=tuple(seen)))
    shuffle(mixed)
    assert plan(replace(world, versions=tuple(mixed))) == plan(world)


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_a_pod_with_runs_is_never_removed_unless_it_is_lost(world: World) -> None:
    """INV-6: closing, cordoning and deleting spare every pod that holds a run, but for lost ones (rule 6)."""
    holding = {
        pod.record.uid
        for version in world.versions
        for pod in version.pods
        if pod.runs > 0 and not pod.record.cordoned and pod not in lost_pods(world, version)
    }
    for action in plan(world).actions:
        if isinstance(action, do.ClosePod | do.CordonPod | do.DeletePod):
            assert action.uid not in holding


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_nothing_ends_with_open_runs_or_unconfirmed(world: World) -> None:
    """INV-6: no version is retired or deleted whose runs were not counted to zero consistently."""
    by_uid = {each.record.uid: each for each in world.versions}
    before = world.entries
    for action in plan(world).actions:
        if isinstance(action, do.DeleteVersion):
            assert by_uid[action.uid].counts.open == 0
            assert by_uid[action.uid].is_confirmed_empty
        if isinstance(action, do.Promote | do.WriteStatus):
            for entry in action.status.versions:
                if entry.phase == "Retired":
                    assert entry.open == 0
                    found = next(each for each in world.versions if each.id == entry.name)
                    assert found.is_confirmed_empty or before[entry.name].phase == "Retired"


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_the_active_version_changes_by_a_promote_alone(world: World) -> None:
    """INV-5, INV-10: one status write at most, and only a promote to a version that serves changes the active one."""
    writes = [each for each in plan(world).actions if isinstance(each, do.Promote | do.WriteStatus)]
    assert len(writes) <= 1
    for write in writes:
        if isinstance(write, do.Promote):
            promoted = next(each for each in world.versions if each.id == write.version)
            assert promoted.ready >= 1
            assert write.status.active_version == write.version == write.view.active_version
        else:
            assert write.status.active_version == world.active_id
        assert sum(entry.phase == "Active" for entry in write.status.versions) <= 1


@settings(max_examples=200, deadline=None)
@given(worlds())
def test_an_unmoved_world_is_written_at_most_three_times(world: World) -> None:
    """INV-8: recorded, drained, retired; then the same world is never written again."""
    for _ in range(4):
        writes = [each for each in plan(world).actions if isinstance(each, do.Promote | do.WriteStatus)]
        if not writes or world.fleet is None:
            return
        world = replace(world, fleet=replace(world.fleet, status=writes[0].status), status_written_at=ago(60))
    raise AssertionError("it is written again and again")


@settings(max_examples=100, deadline=None)
@given(pods("v1"), st.integers(0, 6))
def test_the_fullest_pods_stay(found: tuple[PodView, ...], wanted: int) -> None:
    """Keeping the fullest empties the others, and a pod with runs is never surplus."""
    kept, surplus = choose(found, wanted)
    assert set(map(id, kept)) | set(map(id, surplus)) == set(map(id, found))
    assert all(pod.runs == 0 for pod in surplus)
    assert not surplus or len(kept) >= wanted
