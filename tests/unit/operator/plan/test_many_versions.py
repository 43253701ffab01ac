"""A fleet that is deployed more often than its runs end: new versions are refused, what runs goes on (M12)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from pinfleet_operator.plan import actions as do
from pinfleet_operator.plan.decide import plan
from pinfleet_operator.plan.world import VersionView, World
from tests.unit.operator.plan.situations import conditions_of, recorded
from tests.unit.operator.plan.worlds import (
    NOW,
    a_fleet,
    a_pod,
    a_record,
    a_spec,
    a_status,
    a_version,
    a_world,
    open_runs,
)


def many(count: int, *, open_of_each: int = 1, spec: str = "new") -> World:
    """Versions v1 to vN, the last active with a pod, the others draining; the spec asks for `spec`."""
    versions = [old(number, open_of_each) for number in range(1, count)]
    last = f"v{count}"
    versions.append(replace(old(count, 0), record=a_record(last, count), pods=(a_pod(0, last),)))
    phases = {f"v{number}": "Draining" for number in range(1, count)} | {last: "Active"}
    listed = dict(list(phases.items())[-256:])
    fleet = a_fleet(a_spec(spec), status=a_status(last, **listed))
    return a_world(*versions, fleet=fleet)


def old(number: int, runs: int) -> VersionView:
    """A version whose runs are parked."""
    name = f"v{number}"
    return replace(a_version(name, number, counts=open_runs(parked=runs)), record=a_record(name, number))


def creations(world: World) -> list[str]:
    """Ids of the versions that the plan makes."""
    return [each.spec.id for each in plan(world).actions if isinstance(each, do.CreateVersion)]


def test_a_version_too_many_is_refused_with_what_to_do() -> None:
    """64 versions with runs are enough: Accepted=False names the oldest and says to wait or to cancel."""
    world = many(64)
    assert creations(world) == []
    found = conditions_of(world)
    status, reason, message = found["Accepted"]
    assert (status, reason, found["Stalled"][:2]) == ("False", "TooManyVersions", ("True", "TooManyVersions"))
    assert "wait for its runs or cancel them, the oldest version first: v1 (1 run, oldest run-a" in message
    assert found["Ready"][0] == "True"  # the active version serves on


def test_one_less_is_not() -> None:
    """The bound is reached by the new version itself, not before."""
    assert creations(many(63)) == ["new"]


def test_history_does_not_count() -> None:
    """Records without pods and runs are pruned by versionHistoryLimit, and refuse nothing."""
    assert creations(many(200, open_of_each=0)) == ["new"]


def test_going_back_is_always_possible() -> None:
    """A spec whose version is there makes none, however many there are."""
    assert conditions_of(many(80, spec="v3"))["Accepted"][:2] == ("True", "SpecAccepted")


@pytest.mark.parametrize("open_of_each", [0, 1])
def test_more_versions_than_the_status_takes_stop_nothing(open_of_each: int) -> None:
    """The list is cut, and every pass goes on: pods, switch and status of what is listed."""
    world = recorded(many(300, open_of_each=open_of_each))
    assert world.fleet is not None
    listed = world.fleet.status.versions
    assert len(listed) == 256
    assert listed[0].name == "v300"
    assert [each.revision for each in listed] == sorted((each.revision for each in listed), reverse=True)


def test_the_list_keeps_the_active_version_and_those_with_runs() -> None:
    """What people look for is never cut: the active version, though it is the oldest, and versions that hold runs."""
    empty = [old(number, 0) for number in range(3, 301)]
    active = replace(old(1, 0), pods=(a_pod(0, "v1"),))
    world = a_world(active, old(2, 1), *empty, fleet=a_fleet(a_spec("v1"), status=a_status("v1", v1="Active")))
    written = [each for each in plan(world).actions if isinstance(each, do.WriteStatus)]
    names = [each.name for each in written[0].status.versions]
    assert (len(names), names[:2], names[-2:]) == (256, ["v300", "v299"], ["v2", "v1"])


def test_a_version_that_is_not_listed_is_not_asked_for_in_a_hot_loop() -> None:
    """It cannot be recorded as draining until others have gone: the next pass is in seconds, not at once."""
    world = recorded(many(300))
    again = plan(replace(world, now=NOW + timedelta(seconds=1))).requeue_after
    assert again is not None
    assert again > 0
