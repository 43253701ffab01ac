"""Properties of the planner over worlds that nobody thought of."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from pinfleet_operator.plan import actions as do
from pinfleet_operator.plan.decide import plan
from pinfleet_operator.plan.pods import choose, lost_pods
from pinfleet_operator.plan.world import PodView, Reach, VersionView, World
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

GENERATE = settings(max_examples=2000, phases=[Phase.generate], derandomize=True)  # no shrinking: any example will do
PHASES = ("Preparing", "Candidate", "Active", "Draining", "Retired", "Failed", "Superseded")


@st.composite
def pods(draw: st.DrawFn, version: str) -> tuple[PodView, ...]:
    """Up to five pods in any state."""
    made = []
    for ordinal in range(draw(st.sampled_from([0, 0, 1, 2, 5]))):
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
        is_quiet = draw(st.booleans())
        counts = open_runs(*(0 if is_quiet else draw(st.sampled_from([0, 0, 1, 12])) for _ in range(4)))
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


def spares_runs(world: World, made: do.Plan) -> bool:
    """Whether every pod that holds a run is left alone, but for lost ones (rule 6)."""
    holding = {
        pod.record.uid
        for version in world.versions
        for pod in version.pods
        if pod.runs > 0 and not pod.record.cordoned and pod not in lost_pods(world, version)
    }
    removals = [each for each in made.actions if isinstance(each, do.ClosePod | do.CordonPod | do.DeletePod)]
    return all(each.uid not in holding for each in removals)


def ends_what_is_empty(world: World, made: do.Plan) -> bool:
    """Whether only versions are retired or deleted whose open runs were counted to zero consistently."""
    by_uid = {each.record.uid: each for each in world.versions}
    by_id = {each.id: each for each in world.versions}
    for action in made.actions:
        if isinstance(action, do.DeleteVersion):
            version = by_uid[action.uid]
            if version.counts.open or not version.is_confirmed_empty:
                return False
        if isinstance(action, do.Promote | do.WriteStatus):
            for entry in action.status.versions:
                was_retired = entry.name in world.entries and world.entries[entry.name].phase == "Retired"
                is_sure = by_id[entry.name].is_confirmed_empty or was_retired
                if entry.phase == "Retired" and (by_id[entry.name].counts.open or not is_sure):
                    return False
    return True


def switches_once(world: World, made: do.Plan) -> bool:
    """Whether the status is written once at most, and the active version changes by a promote to a serving one."""
    writes = [each for each in made.actions if isinstance(each, do.Promote | do.WriteStatus)]
    by_id = {each.id: each for each in world.versions}
    for write in writes:
        if isinstance(write, do.Promote):
            names = {write.version, write.status.active_version, write.view.active_version}
            if len(names) > 1 or by_id[write.version].ready == 0:
                return False
        elif write.status.active_version != world.active_id:
            return False
        if sum(entry.phase == "Active" for entry in write.status.versions) > 1:
            return False
    return len(writes) <= 1


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_no_world_leads_to_a_harmful_plan(world: World) -> None:
    """INV-5, 6, 10: runs keep their pods, versions end only when empty for certain, the switch is one write."""
    made = plan(world)
    assert spares_runs(world, made)
    assert ends_what_is_empty(world, made)
    assert switches_once(world, made)


def blind_to_runs(world: World) -> do.Plan:
    """Takes every pod for empty."""
    versions = [replace(v, pods=tuple(replace(pod, runs=0) for pod in v.pods)) for v in world.versions]
    return plan(replace(world, versions=tuple(versions)))


def trusting_the_store(world: World) -> do.Plan:
    """Takes the store's zero for a confirmed one."""
    versions = [replace(v, is_confirmed_empty=v.counts.open == 0) for v in world.versions]
    return plan(replace(world, versions=tuple(versions)))


def promoting_by_the_way(world: World) -> do.Plan:
    """Writes another active version with the counts."""
    made = plan(world)
    actions = [
        do.WriteStatus(each.status.model_copy(update={"active_version": "v9"}))
        if isinstance(each, do.WriteStatus)
        else each
        for each in made.actions
    ]
    return replace(made, actions=tuple(actions))


@pytest.mark.parametrize(
    ("checker", "planner"),
    [
        (spares_runs, blind_to_runs),
        (ends_what_is_empty, trusting_the_store),
        (switches_once, promoting_by_the_way),
    ],
)
def test_a_broken_planner_is_found(
    checker: Callable[[World, do.Plan], bool], planner: Callable[[World], do.Plan]
) -> None:
    """Negative control: among these worlds there is one in which the checker flags the broken planner."""
    found = find(worlds(), lambda world: not checker(world, planner(world)), settings=GENERATE)
    assert checker(found, plan(found))


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
@pytest.mark.case("draining: a scale-down meets a busy pod")
def test_the_fullest_pods_stay(found: tuple[PodView, ...], wanted: int) -> None:
    """Keeping the fullest empties the others, and a pod with runs is never surplus."""
    kept, surplus = choose(found, wanted)
    assert set(map(id, kept)) | set(map(id, surplus)) == set(map(id, found))
    assert all(pod.runs == 0 for pod in surplus)
    assert not surplus or len(kept) >= wanted
