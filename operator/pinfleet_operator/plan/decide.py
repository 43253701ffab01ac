"""The whole decision of a pass: from what is seen to what is done, in order. Pure; ``reconcile`` calls `plan`."""

from dataclasses import replace

from pinfleet_operator.api import keys
from pinfleet_operator.plan.actions import (
    Action,
    AddFinalizer,
    CreateVersion,
    DeleteVersion,
    MirrorStatus,
    Plan,
    Promote,
    Steps,
)
from pinfleet_operator.plan.desired import Desired, Finding, find_desired
from pinfleet_operator.plan.judged import Judged, judge_all, promotable
from pinfleet_operator.plan.leaving import count_steps, finalizer_steps, prune_steps, surplus_of
from pinfleet_operator.plan.pods import pod_steps
from pinfleet_operator.plan.roles import Role
from pinfleet_operator.plan.sleeping import sleep_steps
from pinfleet_operator.plan.status import fleet_status, mirror_actions, write_steps
from pinfleet_operator.plan.views import fleet_view, view_steps
from pinfleet_operator.plan.world import World

UNSYNCED_RETRY_SECONDS = 1.0


def plan(world: World) -> Plan:
    """What this pass does.

    The order matters: the finalizer before the first version, the status before the run loop hears of it, and the count
    to zero last, when both know that the version takes no new runs.
    """
    if not world.is_synced:
        return Plan((), UNSYNCED_RETRY_SECONDS)  # unknown state changes nothing
    found = find_desired(world)
    judged = judge_all(world, found)
    steps = _make_version(world, found)
    for each in judged:
        steps += pod_steps(world, each.version, each.role, each.wanted)
    steps += _tell(world, found, judged)
    for each in judged:
        steps += sleep_steps(world, each.version, each.role, each.stage)
    steps += _let_go(world, judged)
    steps += finalizer_steps(world, keys.FINALIZER)
    return Plan(_without_vain(steps.actions), _seconds_until(world, steps))


def _make_version(world: World, found: Finding | None) -> Steps:
    """The finalizer, then the version that the spec asks for, unless its name is still taken by an earlier fleet's."""
    fleet = world.fleet
    if fleet is None:
        return Steps()
    if not isinstance(found, Desired):
        is_asked = found is not None and world.template_error is not None  # what refused it may be a passing policy
        return Steps(again_at=world.later(world.settings.rejected_seconds)) if is_asked else Steps()
    finalizer: tuple[Action, ...] = () if keys.FINALIZER in fleet.finalizers else (AddFinalizer(),)
    is_taken = any(each.id == found.id for each in world.versions)
    if found.draft is None or is_taken:
        return Steps(finalizer)
    return Steps((*finalizer, CreateVersion(found.draft)), world.now)


def _tell(world: World, found: Finding | None, judged: tuple[Judged, ...]) -> Steps:
    """The status, in one write, which is the switch where the candidate is ready; then the copies and the run loop."""
    if world.fleet is not None and world.fleet.is_deleting and not world.versions:
        return view_steps(world, judged)  # it is about to go: nobody reads its status
    ready = promotable(world, found, judged)
    if ready is not None:
        return _promote(world, found, ready)
    status = fleet_status(world, found, judged)
    writes = write_steps(world, status, judged)
    if not writes.actions and world.fleet is not None and status != world.fleet.status:
        return writes + view_steps(world, judged)  # mere counts, written a little later
    return writes + view_steps(world, judged) + Steps(mirror_actions(world, judged))


def _promote(world: World, found: Finding | None, ready: Judged) -> Steps:
    after = _with_active(world, ready.version.id)
    judged = judge_all(after, found)
    view = fleet_view(after, judged)
    if view is None:
        return Steps()
    status = fleet_status(after, found, judged)
    promote = Promote(ready.version.id, status, view)
    return Steps((promote, *mirror_actions(after, judged)), world.now)


def _with_active(world: World, version: str) -> World:
    """The world as it is once the switch is written; its entries are still those before it."""
    if world.fleet is None:
        return world
    status = world.fleet.status.model_copy(update={"active_version": version})
    return replace(world, fleet=replace(world.fleet, status=status))


def _let_go(world: World, judged: tuple[Judged, ...]) -> Steps:
    """Count leaving versions to zero, and delete the records that are not kept."""
    leaving = tuple(each for each in judged if each.role is Role.LEAVING)
    surplus = surplus_of(world, tuple(each.version for each in leaving))
    steps = Steps()
    for each in leaving:
        if each.stage is None:
            continue
        is_surplus = each.version.record.uid in surplus
        steps += count_steps(world, each.version, each.stage, is_surplus=is_surplus)
        steps += prune_steps(world, each.version, each.stage, is_surplus=is_surplus)
    return steps


def _without_vain(actions: tuple[Action, ...]) -> tuple[Action, ...]:
    """No copy of the status for a version that goes in the same pass: it would change what the deletion names."""
    going = {each.uid for each in actions if isinstance(each, DeleteVersion)}
    return tuple(each for each in actions if not (isinstance(each, MirrorStatus) and each.version_uid in going))


def _seconds_until(world: World, steps: Steps) -> float | None:
    if steps.again_at is None:
        return None
    return max(0.0, (steps.again_at - world.now).total_seconds())
