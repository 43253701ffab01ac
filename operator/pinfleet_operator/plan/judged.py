"""Each version with everything that a pass decides about it: task, stage, pods wanted, phase, trouble. Pure."""

from dataclasses import dataclass
from datetime import datetime

from pinfleet_operator.api.models.values import VersionPhase
from pinfleet_operator.plan.desired import Desired, Finding, next_revision
from pinfleet_operator.plan.leaving import Stage, has_pods, is_retired, rest_end, revision_of, stage_of
from pinfleet_operator.plan.roles import CLOSED_PHASES, Role, role_of, was_never_active
from pinfleet_operator.plan.sleeping import may_sleep
from pinfleet_operator.plan.trouble import Trouble, trouble_of
from pinfleet_operator.plan.wanted import pods_wanted, ready_needed
from pinfleet_operator.plan.words import rfc3339, runs_words
from pinfleet_operator.plan.world import VersionView, World


@dataclass(frozen=True)
class Judged:
    """A version and what was decided about it."""

    version: VersionView
    role: Role
    stage: Stage | None  # None unless it leaves
    wanted: int | None  # pods that it should have; None: those that are there stay
    phase: VersionPhase
    trouble: Trouble | None
    revision: int
    draining_since: datetime | None
    retired_at: datetime | None
    blocked_by: str | None

    @property
    def is_draining(self) -> bool:
        """Whether an old version still has something to end."""
        return self.role is Role.LEAVING and (self.phase in {"Draining", "Dormant"} or self.version.counts.open > 0)


def judge_all(world: World, found: Finding | None) -> tuple[Judged, ...]:
    """Every version, judged; in the world's order."""
    return tuple(_judge(world, found, version) for version in world.versions)


def needed_ready(world: World) -> int:
    """Pods of the candidate that must be ready before the switch."""
    spec = world.fleet.spec if world.fleet is not None else None
    return 1 if spec is None else ready_needed(spec)


def promotable(world: World, found: Finding | None, judged: tuple[Judged, ...]) -> Judged | None:
    """The candidate, if it may become the active version now."""
    for each in judged:
        is_candidate = each.role is Role.CANDIDATE and isinstance(found, Desired) and not each.version.record.deleting
        if is_candidate and each.version.ready >= needed_ready(world):
            return each
    return None


def _judge(world: World, found: Finding | None, version: VersionView) -> Judged:
    role = role_of(world, found, version)
    stage = stage_of(world, version) if role is Role.LEAVING else None
    wanted = pods_wanted(world, version, role, stage)
    trouble = trouble_of(world, version, wanted)
    entry = world.entries.get(version.id)
    phase = _phase(world, version, role, stage, trouble)
    leaves_record = role is Role.LEAVING and phase in {"Draining", "Dormant", "Retired"}
    retired = role is Role.LEAVING and is_retired(world, version)
    now = world.now.replace(microsecond=0)
    return Judged(
        version=version,
        role=role,
        stage=stage,
        wanted=wanted,
        phase=phase,
        trouble=trouble,
        revision=_revision(world, version, role),
        draining_since=((entry.draining_since if entry else None) or now) if leaves_record else None,
        retired_at=((entry.retired_at if entry else None) or now) if retired else None,
        blocked_by=_blocked_by(world, version, role, stage, trouble),
    )


def _phase(
    world: World, version: VersionView, role: Role, stage: Stage | None, trouble: Trouble | None
) -> VersionPhase:
    if role is Role.ACTIVE:
        return "Active"
    if role is Role.CANDIDATE:
        if version.ready >= needed_ready(world):
            return "Candidate"
        return "Failed" if trouble is not None else "Preparing"
    if was_never_active(world, version):
        return "Superseded"
    if is_retired(world, version):
        return "Retired"
    return "Dormant" if may_sleep(world, version, role, stage) and not version.pods else "Draining"


def _revision(world: World, version: VersionView, role: Role) -> int:
    """A version that is used again gets a new place in the history."""
    entry = world.entries.get(version.id)
    if role is Role.CANDIDATE and entry is not None and entry.phase in CLOSED_PHASES:
        return next_revision(world)
    return revision_of(world, version)


def _blocked_by(
    world: World, version: VersionView, role: Role, stage: Stage | None, trouble: Trouble | None
) -> str | None:
    if trouble is not None:
        return trouble.message
    if role is Role.CANDIDATE and version.ready < needed_ready(world):
        return f"{version.ready} of {needed_ready(world)} pods are ready"
    if role is not Role.LEAVING or is_retired(world, version):
        return None
    if version.counts.open > 0:
        return runs_words(version.counts)
    if stage is Stage.RESTING and (until := rest_end(world, version)) is not None:
        return f"drained; its pods are kept until {rfc3339(until)} (spec.drain.retireDelaySeconds)"
    if stage is Stage.EMPTY and has_pods(world, version):
        return "drained; its pods are being removed"
    return "its open runs are being counted"
