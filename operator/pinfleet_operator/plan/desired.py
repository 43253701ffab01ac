"""Which version the fleet's spec asks for, or why it cannot be used. Pure."""

from dataclasses import dataclass
from typing import Final

from pinfleet_operator.api import keys
from pinfleet_operator.api.models.agent_deployment import LIVE_VERSIONS
from pinfleet_operator.api.models.agent_version import AgentVersionSpec
from pinfleet_operator.errors import BadManifest
from pinfleet_operator.plan import naming
from pinfleet_operator.plan.render import render
from pinfleet_operator.plan.words import runs_words
from pinfleet_operator.plan.world import FleetState, VersionView, World


@dataclass(frozen=True)
class Desired:
    """The version that the spec describes."""

    id: str
    spec_hash: str
    existing: VersionView | None  # None: it is yet to be made
    draft: AgentVersionSpec | None  # what is to be made; None: it exists


@dataclass(frozen=True)
class Refused:
    """The spec cannot be used; whatever runs goes on."""

    reason: str  # a condition's reason, from api.keys
    message: str  # with what to write instead


Finding = Desired | Refused


def find_desired(world: World) -> Finding | None:
    """The version that the spec asks for; None: the fleet is ending and asks for none."""
    if world.fleet is None or world.fleet.is_deleting:
        return None
    for decide in DECISIONS:
        found = decide(world, world.fleet)
        if found is not None:
            return found
    return None


def _unreadable(_world: World, fleet: FleetState) -> Finding | None:
    if fleet.spec is None:
        return Refused(keys.INVALID_SPEC, f"this operator cannot read the spec: {fleet.spec_error}")
    return None


def _exists(world: World, fleet: FleetState) -> Finding | None:
    """A version with this spec's hash: an old spec applied again revives its version."""
    if fleet.spec is None:
        return None
    same = [each for each in world.versions if world.is_own(each) and each.record.spec_hash == fleet.spec_hash]
    if fleet.spec.version is not None:
        same = [each for each in same if each.id == fleet.spec.version]
    # Without a name, the active version comes first: taking a name out of the spec is no rollout.
    same.sort(key=lambda each: (each.id == world.active_id, each.record.revision))
    return Desired(same[-1].id, fleet.spec_hash, same[-1], None) if same else None


def _name_reused(world: World, fleet: FleetState) -> Finding | None:
    if fleet.spec is None:
        return None
    wanted = naming.version_id(fleet.spec.version, fleet.spec_hash)
    lost, entry = {each.id for each in world.lost}, world.entries.get(wanted)
    if wanted in lost and (entry is None or entry.spec_hash != fleet.spec_hash):
        return Refused(
            keys.VERSION_NAME_REUSED,
            f"version {wanted} has open runs, though its AgentVersion was deleted, and this spec is not its own: "
            f"apply that one again, or cancel its runs, or write a new name, such as {_next_name(world, wanted)}",
        )
    if not any(each.id == wanted and world.is_own(each) for each in world.versions):
        return None
    return Refused(
        keys.VERSION_NAME_REUSED,
        f"spec.version {wanted} is taken by another template, port, runsPerPod, state or schemaVersion: versions never "
        f"change; write a name that was not used yet, such as {_next_name(world, wanted)}, or remove spec.version",
    )


def _too_many(world: World, _fleet: FleetState) -> Finding | None:
    """Runs may be parked for a month: who deploys every hour would pile up versions, each with a pod, without end."""
    live = [each for each in world.versions if world.is_own(each) and (each.counts.open > 0 or each.pods)]
    if len(live) < LIVE_VERSIONS:
        return None
    waits = [each for each in live if each.id != world.active_id]
    oldest = f"{waits[0].id} ({runs_words(waits[0].counts)})" if waits else "none"
    return Refused(
        keys.TOO_MANY_VERSIONS,
        f"{len(live)} versions have pods or open runs, of at most {LIVE_VERSIONS}: this spec gets its version once one "
        f"of them has drained; wait for its runs or cancel them, the oldest version first: {oldest}",
    )


def _not_renderable(world: World, fleet: FleetState) -> Finding | None:
    try:
        _draft(world, fleet)
    except BadManifest as err:
        return Refused(err.reason, str(err))
    return None


def _refused_by_server(world: World, _fleet: FleetState) -> Finding | None:
    if world.template_error is not None:
        return Refused(keys.INVALID_TEMPLATE, world.template_error)
    return None


def _is_new(world: World, fleet: FleetState) -> Finding | None:
    draft = _draft(world, fleet)
    return None if draft is None else Desired(draft.id, draft.spec_hash, None, draft)


DECISIONS: Final = (
    _unreadable,  # nothing else can be asked
    _exists,  # it was accepted when it was made, and is never rendered again
    _name_reused,
    _too_many,  # of new ones alone: going back to a version that is there is always possible
    _not_renderable,  # our own rules, before the API server is asked
    _refused_by_server,
    _is_new,
)


def next_revision(world: World) -> int:
    """One above every revision in the fleet's history."""
    recorded = [each.revision for each in world.entries.values()]
    return 1 + max([0, *recorded, *(each.record.revision for each in world.versions if world.is_own(each))])


def _draft(world: World, fleet: FleetState) -> AgentVersionSpec | None:
    spec = fleet.spec
    if spec is None:
        return None
    version = naming.version_id(spec.version, fleet.spec_hash)
    return AgentVersionSpec(
        fleet=world.name,
        fleet_uid=fleet.uid,
        id=version,
        revision=next_revision(world),
        template=render(fleet=world.name, fleet_uid=fleet.uid, version=version, spec=spec, settings=world.settings),
        port=spec.port,
        runs_per_pod=spec.runs_per_pod,
        state=spec.state,
        schema_version=spec.schema_version,
        spec_hash=fleet.spec_hash,
    )


def _next_name(world: World, wanted: str) -> str:
    """``v3`` after ``v2``, if it is free; else the name with a number."""
    taken = {each.id for each in world.versions}
    stem = wanted.rstrip("0123456789")
    number = int(wanted[len(stem) :] or 1)
    stem = stem if stem != wanted else f"{wanted}-"
    return next(name for n in range(number + 1, number + len(taken) + 2) if (name := f"{stem}{n}") not in taken)
