"""Negative controls: each checker of the toy flags a planner that is broken on purpose."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from pinfleet_operator.api.fleet import Counts
from pinfleet_operator.plan import actions as do
from pinfleet_operator.plan.decide import plan
from pinfleet_operator.plan.world import VersionView, World
from tests.unit.operator.plan.toy import InvariantBrokenError, Toy


def blind_to_runs(world: World) -> do.Plan:
    """Takes every version and pod for empty, and its emptiness for confirmed."""

    def emptied(version: VersionView) -> VersionView:
        pods = tuple(replace(pod, runs=0) for pod in version.pods)
        return replace(version, counts=Counts(), pods=pods, is_confirmed_empty=True)

    return plan(replace(world, versions=tuple(emptied(each) for each in world.versions)))


def trusting_the_store(world: World) -> do.Plan:
    """Takes the store's zero for a confirmed one."""
    versions = [replace(each, is_confirmed_empty=each.counts.open == 0) for each in world.versions]
    return plan(replace(world, versions=tuple(versions)))


def restless(world: World) -> do.Plan:
    """Writes its status in every pass."""
    made = plan(world)
    if world.fleet is None or any(isinstance(each, do.Promote | do.WriteStatus) for each in made.actions):
        return made
    return replace(made, actions=(*made.actions, do.WriteStatus(world.fleet.status)))


def twice(world: World) -> do.Plan:
    """Writes its status twice in a pass."""
    made = plan(world)
    writes = tuple(each for each in made.actions if isinstance(each, do.WriteStatus))
    return replace(made, actions=(*made.actions, *writes))


def with_two_actives(world: World) -> do.Plan:
    """Calls every version active."""

    def spoilt(action: do.Action) -> do.Action:
        if not isinstance(action, do.WriteStatus | do.Promote):
            return action
        versions = tuple(each.model_copy(update={"phase": "Active"}) for each in action.status.versions)
        return replace(action, status=action.status.model_copy(update={"versions": versions}))

    made = plan(world)
    return replace(made, actions=tuple(spoilt(each) for each in made.actions))


def telling_too_early(world: World) -> do.Plan:
    """Tells the run loop of the candidate as if it were active."""

    def spoilt(action: do.Action) -> do.Action:
        if isinstance(action, do.SetFleet) and action.view.candidate_version:
            return do.SetFleet(replace(action.view, active_version=action.view.candidate_version))
        return action

    made = plan(world)
    return replace(made, actions=tuple(spoilt(each) for each in made.actions))


def leaving_runs_alone(world: World) -> do.Plan:
    """Makes no pods for versions that are not active, and says that all is well."""
    made = plan(world)
    actions = tuple(a for a in made.actions if not (isinstance(a, do.CreatePod) and a.version != world.active_id))
    return do.Plan(actions, None if world.active_id else made.requeue_after)


def a_rollout(planner: Callable[[World], do.Plan]) -> None:
    """A rollout with a run in flight, its end, and the fleet's deletion."""
    toy = Toy()
    toy.settle()
    toy.new_run()
    toy.edit("v2")
    toy.settle()
    toy.planner = planner
    if planner is leaving_runs_alone:
        toy.kill(0)
    toy.edit("v3")
    toy.settle()
    toy.end_run(0)
    toy.settle()
    toy.delete()
    toy.settle()


@pytest.mark.parametrize(
    ("planner", "invariant"),
    [
        (blind_to_runs, "INV-6"),
        (trusting_the_store, "INV-6"),
        (restless, "INV-8"),
        (twice, "INV-15"),
        (with_two_actives, "INV-10"),
        (telling_too_early, "INV-5"),
        (leaving_runs_alone, "INV-6"),
    ],
)
def test_a_broken_planner_is_flagged(planner: Callable[[World], do.Plan], invariant: str) -> None:
    """A checker that never fires shows nothing."""
    with pytest.raises(InvariantBrokenError, match=invariant):
        a_rollout(planner)


def test_the_planner_itself_is_not_flagged() -> None:
    """The same rollout passes with the planner as it is."""
    a_rollout(plan)
