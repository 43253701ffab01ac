"""A version's way out: recorded, counted to zero, its pods gone, its record pruned. Pure.

The order is the protection (rule 7): that it takes no new runs is on record before its runs are counted; the count is a
consistent LIST begun after what was in flight has settled; one open run seen afterwards makes the count void.
"""

from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from pinfleet_operator.api.models.agent_deployment import VERSIONS_LISTED
from pinfleet_operator.plan.actions import ConfirmEmpty, DeleteVersion, RemoveFinalizer, Steps
from pinfleet_operator.plan.roles import is_recorded_leaving
from pinfleet_operator.plan.world import PodView, VersionView, World

UNLISTED_RETRY_SECONDS: Final = 10.0


class Stage(Enum):
    """How far a leaving version is."""

    UNRECORDED = "unrecorded"  # the status does not say yet that it takes no new runs
    SERVING = "serving"  # it has open runs
    COUNTING = "counting"  # the store shows none, a consistent LIST is yet to say so
    RESTING = "resting"  # empty for certain, kept for retireDelaySeconds
    EMPTY = "empty"  # its pods may go


def stage_of(world: World, version: VersionView) -> Stage:
    """How far a leaving version is."""
    if not is_recorded_leaving(world, version):
        return Stage.UNRECORDED
    if version.counts.open > 0:
        return Stage.SERVING
    if not version.is_confirmed_empty:
        return Stage.COUNTING
    rests_until = rest_end(world, version)
    return Stage.RESTING if rests_until is not None and rests_until > world.now else Stage.EMPTY


def rest_end(world: World, version: VersionView) -> datetime | None:
    """When an empty version's pods may go; None: at once."""
    spec = world.fleet.spec if world.fleet is not None else None
    entry = world.entries.get(version.id)
    if world.is_ending or spec is None or version.empty_since is None or (entry and entry.retired_at):
        return None
    return version.empty_since + timedelta(seconds=spec.drain.retire_delay_seconds)


def counts_as_gone(world: World, pod: PodView) -> bool:
    """Whether a pod's deletion has hung for so long that its node must be gone."""
    lost_after = world.ago(world.settings.node_lost_seconds)
    return pod.deleting_since is not None and pod.deleting_since <= lost_after


def has_pods(world: World, version: VersionView) -> bool:
    """Whether a pod of the version is there that may still act."""
    return any(not counts_as_gone(world, pod) for pod in version.pods)


def is_retired(world: World, version: VersionView) -> bool:
    """Whether a leaving version has neither open runs nor pods, for certain."""
    if version.counts.open > 0 or has_pods(world, version) or not is_recorded_leaving(world, version):
        return False
    entry = world.entries.get(version.id)
    return stage_of(world, version) is Stage.EMPTY or bool(entry and entry.retired_at)


def count_steps(world: World, version: VersionView, stage: Stage, *, is_surplus: bool) -> Steps:
    """Count a leaving version to zero where that is what it waits for.

    Args:
        world: what the pass sees.
        version: a leaving version.
        stage: how far it is.
        is_surplus: its record is to be deleted.
    """
    if stage is Stage.UNRECORDED:
        is_listed = len(world.versions) + len(world.lost) <= VERSIONS_LISTED
        return Steps(again_at=world.now if is_listed else world.later(UNLISTED_RETRY_SECONDS))  # this pass records it
    if stage is Stage.COUNTING and (is_surplus or not is_retired(world, version)):
        return Steps((ConfirmEmpty(version.id, version.record.uid),), world.now)
    if stage is Stage.RESTING:
        return Steps(again_at=rest_end(world, version))
    hangs = timedelta(seconds=world.settings.node_lost_seconds)
    gone_at = [pod.deleting_since + hangs for pod in version.pods if pod.deleting_since is not None]
    return Steps(again_at=min((at for at in gone_at if at > world.now), default=None))


def prune_steps(world: World, version: VersionView, stage: Stage, *, is_surplus: bool) -> Steps:
    """Delete the record of a version that nobody goes back to; its count to zero must be certain now."""
    if not is_surplus or stage is not Stage.EMPTY or has_pods(world, version) or version.record.deleting:
        return Steps()
    record = version.record
    return Steps((DeleteVersion(record.name, record.uid, record.resource_version),))


def surplus_of(world: World, leaving: tuple[VersionView, ...]) -> frozenset[str]:
    """Uids of the leaving versions whose record is not kept: all of an ending fleet's, else the oldest retired ones."""
    foreign = {each.record.uid for each in leaving if not world.is_own(each)}
    spec = world.fleet.spec if world.fleet is not None else None
    if world.is_ending:
        return frozenset(each.record.uid for each in leaving)
    if spec is None:
        return frozenset(foreign)
    retired = [each for each in leaving if world.is_own(each) and is_retired(world, each)]
    retired.sort(key=lambda each: (-revision_of(world, each), each.id))
    return frozenset(foreign | {each.record.uid for each in retired[spec.version_history_limit :]})


def revision_of(world: World, version: VersionView) -> int:
    """The version's place in the history: its own, or a later one if it was used again."""
    entry = world.entries.get(version.id)
    return max(version.record.revision, entry.revision if entry is not None else 0)


def finalizer_steps(world: World, finalizer: str) -> Steps:
    """Let a deleted fleet go once no version is left."""
    fleet = world.fleet
    if fleet is None or not fleet.is_deleting or world.versions or finalizer not in fleet.finalizers:
        return Steps()
    return Steps((RemoveFinalizer(),))
