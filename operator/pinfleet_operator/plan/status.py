"""The status of a fleet and of its versions, and when it is worth a write. Pure."""

from datetime import timedelta

from pydantic import ValidationError

from pinfleet_operator.api import keys
from pinfleet_operator.api.models.agent_deployment import (
    VERSIONS_LISTED,
    AgentDeploymentStatus,
    FleetVersionStatus,
)
from pinfleet_operator.api.models.agent_version import AgentVersionStatus
from pinfleet_operator.plan.actions import Action, MirrorStatus, Steps, WriteStatus
from pinfleet_operator.plan.conditions import Fact, dated, fleet_conditions
from pinfleet_operator.plan.desired import Finding
from pinfleet_operator.plan.judged import Judged
from pinfleet_operator.plan.leaving import Stage
from pinfleet_operator.plan.roles import Role
from pinfleet_operator.plan.words import cut, runs_words
from pinfleet_operator.plan.world import LostVersion, World


def fleet_status(world: World, found: Finding | None, judged: tuple[Judged, ...]) -> AgentDeploymentStatus:
    """The fleet's status, whole; `activeVersion` is the world's."""
    fleet = world.fleet
    candidate = next((each.version.id for each in judged if each.role is Role.CANDIDATE), None)
    newest_first = sorted(judged, key=lambda each: (-each.revision, each.version.id))
    entries = [_entry(each) for each in newest_first] + [_lost_entry(world, each) for each in world.lost]
    named = {world.active_id, candidate}
    made = AgentDeploymentStatus(
        observed_generation=fleet.generation if fleet is not None else None,
        active_version=world.active_id,
        candidate_version=candidate,
        versions=_listed(entries, named),
        pending_runs=world.unpinned,
        counted_at_resource_version=world.counted_at,
        conditions=fleet_conditions(world, found, judged),
    )
    if fleet is not None and _uncounted(made) == _uncounted(fleet.status):
        return fleet.status  # the counts still hold; a later moment alone is no news
    return made


def write_steps(world: World, status: AgentDeploymentStatus, judged: tuple[Judged, ...]) -> Steps:
    """Write the status if it changed; mere counts only now and then, but at once when a draining version is empty.

    Not before every pod was asked once: a new leader would say that none is ready, and a moment later that all are.
    """
    fleet = world.fleet
    if fleet is None or status == fleet.status or any(each.version.has_unheard for each in judged):
        return Steps()
    written_at = world.status_written_at
    if written_at is None or _essence(status) != _essence(fleet.status) or _has_emptied(world, judged):
        return Steps((WriteStatus(status),))
    next_at = written_at + timedelta(seconds=world.settings.count_seconds)
    return Steps(again_at=next_at) if next_at > world.now else Steps((WriteStatus(status),))


def mirror_actions(world: World, judged: tuple[Judged, ...]) -> tuple[Action, ...]:
    """Copies of the status, without counts, for every version whose copy differs."""
    actions = []
    for each in judged:
        record = each.version.record
        try:
            before = AgentVersionStatus.model_validate_json(bytes(record.status))
        except ValidationError:
            before = AgentVersionStatus()
        made = _mirror(world, each, before)
        if made != before:
            actions.append(MirrorStatus(record.name, record.uid, record.resource_version, made))
    return tuple(actions)


def _entry(each: Judged) -> FleetVersionStatus:
    counts = each.version.counts
    return FleetVersionStatus(
        name=each.version.id,
        revision=each.revision,
        phase=each.phase,
        pods=sum(not pod.record.is_terminal for pod in each.version.pods),
        ready=each.version.ready,
        open=counts.open,
        running=counts.running,
        parked=counts.parked,
        pending=counts.pending,
        held=counts.held,
        spec_hash=each.version.record.spec_hash,
        draining_since=each.draining_since,
        retired_at=each.retired_at,
        oldest_open_run=counts.oldest_open_run,
        blocked_by=cut(each.blocked_by) if each.blocked_by else None,
    )


def _listed(entries: list[FleetVersionStatus], named: set[str | None]) -> tuple[FleetVersionStatus, ...]:
    """As many as the API server takes, in their order: those that are named or hold runs first, then the newest."""
    if len(entries) <= VERSIONS_LISTED:
        return tuple(entries)
    by_worth = sorted(entries, key=lambda each: (each.name not in named, each.open == 0, each.pods == 0))
    kept = {each.name for each in by_worth[:VERSIONS_LISTED]}
    return tuple(each for each in entries if each.name in kept)


def _lost_entry(world: World, lost: LostVersion) -> FleetVersionStatus:
    """A version whose object was deleted by hand while runs are pinned to it."""
    before = world.entries[lost.id]
    counts = lost.counts
    return before.model_copy(
        update={
            "phase": "Failed",
            "pods": 0,
            "ready": 0,
            "open": counts.open,
            "running": counts.running,
            "parked": counts.parked,
            "pending": counts.pending,
            "held": counts.held,
            "retired_at": None,
            "oldest_open_run": counts.oldest_open_run,
            "blocked_by": f"{runs_words(counts)}; its AgentVersion is gone: apply its spec again, or cancel the runs",
        }
    )


def _mirror(world: World, each: Judged, before: AgentVersionStatus) -> AgentVersionStatus:
    is_ready = each.version.ready > 0
    facts = [Fact(keys.READY, "True" if is_ready else "False", each.phase, "")]
    if each.trouble is not None:
        facts.append(Fact(keys.STALLED, "True", each.trouble.reason, each.trouble.message))
    now = world.now.replace(microsecond=0)
    return AgentVersionStatus(
        observed_generation=1,  # its spec never changes
        phase=each.phase,
        active_since=(before.active_since or now) if each.role is Role.ACTIVE else before.active_since,
        draining_since=each.draining_since,
        retired_at=each.retired_at,
        conditions=dated(facts, before.conditions, world, 1),
    )


def _has_emptied(world: World, judged: tuple[Judged, ...]) -> bool:
    """Whether a version's end is to be told: its last run's, and once that is certain and its pods are on their way.

    Where many versions end at once, the pods go first: what is written about them waits in the same queue.
    """
    emptied = [
        each
        for each in judged
        if (entry := world.entries.get(each.version.id)) is not None
        and (each.role is Role.LEAVING and entry.open > 0 and each.version.counts.open == 0)
    ]
    return any(each.stage is Stage.RESTING or (each.stage is Stage.EMPTY and not each.version.live) for each in emptied)


def _uncounted(status: AgentDeploymentStatus) -> AgentDeploymentStatus:
    return status.model_copy(update={"counted_at_resource_version": None})


def _essence(status: AgentDeploymentStatus) -> AgentDeploymentStatus:
    """The status without what moves with every run: counts, pods, and the sentences that name them."""
    moving = {"pods", "ready", "open", "running", "parked", "pending", "held"}
    zeros = dict.fromkeys(moving, 0) | {"oldest_open_run": None, "blocked_by": None}
    return status.model_copy(
        update={
            "counted_at_resource_version": None,
            "pending_runs": None,
            "versions": tuple(each.model_copy(update=zeros) for each in status.versions),
            "conditions": tuple(each.model_copy(update={"message": ""}) for each in status.conditions),
        }
    )
