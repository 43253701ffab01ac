"""The conditions of a fleet, by the rules that GitOps tools read them by (kstatus). Pure.

Stalled and Reconciling exclude each other: a reader that sees Reconciling takes the fleet for in progress and looks no
further. A draining version makes a fleet neither unready nor in progress.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pinfleet_operator.api import keys
from pinfleet_operator.api.models.values import Condition
from pinfleet_operator.plan.desired import Desired, Finding, Refused
from pinfleet_operator.plan.judged import Judged, needed_ready
from pinfleet_operator.plan.roles import Role
from pinfleet_operator.plan.words import count_words, cut, runs_words
from pinfleet_operator.plan.world import World

ConditionStatus = Literal["True", "False", "Unknown"]


@dataclass(frozen=True)
class Fact:
    """A condition without its history."""

    type: str
    status: ConditionStatus
    reason: str
    message: str


def fleet_conditions(world: World, found: Finding | None, judged: tuple[Judged, ...]) -> tuple[Condition, ...]:
    """Every condition of the fleet, by type."""
    if world.fleet is None:
        return ()
    facts = [_ready(world, judged), _drained(world, judged), *_accepted(found), *_paused(world)]
    stalled = _stalled(found, judged)
    facts += [stalled] if stalled else list(_reconciling(world, found, judged))
    return dated(facts, world.fleet.status.conditions, world, world.fleet.generation)


def dated(
    facts: list[Fact], before: tuple[Condition, ...], world: World, generation: int | None
) -> tuple[Condition, ...]:
    """Facts as conditions, by type; the time of a transition moves only with the condition's status."""
    known = {each.type: each for each in before}
    now = world.now.replace(microsecond=0)
    made = []
    for fact in sorted(facts, key=lambda each: each.type):
        old = known.get(fact.type)
        since = old.last_transition_time if old is not None and old.status == fact.status else now
        made.append(
            Condition(
                type=fact.type,
                status=fact.status,
                reason=fact.reason,
                message=cut(fact.message),
                last_transition_time=since,
                observed_generation=generation,
            )
        )
    return tuple(made)


def _ready(world: World, judged: tuple[Judged, ...]) -> Fact:
    active = next((each for each in judged if each.role is Role.ACTIVE), None)
    if world.is_ending:
        return Fact(keys.READY, "False", keys.DELETING, "the fleet is being deleted and takes no new runs")
    if active is None:
        return Fact(keys.READY, "False", keys.NO_ACTIVE_VERSION, "no version is active yet")
    if active.version.ready == 0 and active.wanted != 0:
        reason = active.trouble.reason if active.trouble else keys.SCALING
        return Fact(keys.READY, "False", reason, f"no pod of the active version {active.version.id} is ready")
    draining = [each for each in judged if each.is_draining]
    words = f"{active.version.id} active"
    if draining:
        runs = sum(each.version.counts.open for each in draining)
        words += f"; {count_words(len(draining), 'version')} draining ({count_words(runs, 'run')})"
    return Fact(keys.READY, "True", keys.ACTIVE, words)


def _drained(world: World, judged: tuple[Judged, ...]) -> Fact:
    draining = [f"{each.version.id}: {each.blocked_by}" for each in judged if each.is_draining]
    draining += [f"{each.id}: {runs_words(each.counts)}; its AgentVersion is gone" for each in world.lost]
    if not draining:
        return Fact(keys.DRAINED, "True", keys.ALL_DRAINED, "no old version has open runs")
    return Fact(keys.DRAINED, "False", keys.DRAINING, "; ".join(draining))


def _accepted(found: Finding | None) -> Iterator[Fact]:
    match found:
        case Refused(reason, message):
            yield Fact(keys.ACCEPTED, "False", reason, message)
        case Desired():
            yield Fact(keys.ACCEPTED, "True", keys.SPEC_ACCEPTED, f"the spec describes version {found.id}")
        case None:
            return


def _paused(world: World) -> Iterator[Fact]:
    if world.fleet is not None and world.fleet.spec is not None and world.fleet.spec.paused:
        yield Fact(keys.PAUSED, "True", keys.PAUSED_BY_SPEC, "new runs wait; runs that have begun go on (spec.paused)")


def _stalled(found: Finding | None, judged: tuple[Judged, ...]) -> Fact | None:
    """What needs a person first: the spec, then the candidate, the active version, the others."""
    if isinstance(found, Refused):
        return Fact(keys.STALLED, "True", found.reason, found.message)
    order = (Role.CANDIDATE, Role.ACTIVE, Role.LEAVING)
    for each in sorted(judged, key=lambda one: (order.index(one.role), -one.revision)):
        if each.trouble is not None:
            words = f"version {each.version.id}: {each.trouble.message}"
            return Fact(keys.STALLED, "True", each.trouble.reason, words)
    return None


def _reconciling(world: World, found: Finding | None, judged: tuple[Judged, ...]) -> Iterator[Fact]:
    if world.is_ending:
        left = count_words(len(judged), "version")
        yield Fact(keys.RECONCILING, "True", keys.DELETING, f"{left} left: each goes when its last run has ended")
        return
    if isinstance(found, Desired) and found.id != world.active_id:
        yield Fact(keys.RECONCILING, "True", keys.CANDIDATE_STARTING, _waits_for(world, found))
        return
    active = next((each for each in judged if each.role is Role.ACTIVE), None)
    floor = world.fleet.spec.replicas if world.fleet is not None and world.fleet.spec is not None else 0
    # Pods above the floor follow the runs: they come and go without the fleet being in progress.
    if active is not None and active.version.ready < floor:
        words = f"version {active.version.id}: {active.version.ready} of {floor} pods are ready"
        yield Fact(keys.RECONCILING, "True", keys.SCALING, words)


def _waits_for(world: World, found: Desired) -> str:
    if found.existing is None:
        if any(each.id == found.id for each in world.versions):
            return f"version {found.id} of an earlier fleet of this name still ends"
        return f"version {found.id} is being made"
    return f"version {found.id}: {found.existing.ready} of {needed_ready(world)} pods are ready"
