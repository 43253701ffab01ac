"""What each version is there for now, and what the status recorded of it before. Pure."""

from enum import Enum
from typing import Final

from pinfleet_operator.plan.desired import Desired, Finding
from pinfleet_operator.plan.world import VersionView, World


class Role(Enum):
    """A version's task."""

    ACTIVE = "active"  # new runs are pinned to it
    CANDIDATE = "candidate"  # the spec asks for it, and it is to become active
    LEAVING = "leaving"  # neither: it serves its open runs, then goes


CLOSED_PHASES: Final = frozenset({"Draining", "Dormant", "Retired", "Superseded"})
"""Recorded phases in which no run is pinned to a version any more."""


def role_of(world: World, found: Finding | None, version: VersionView) -> Role:
    """The version's task; of an ending fleet, and of an earlier one of the same name, every version leaves."""
    if world.is_ending or not world.is_own(version):
        return Role.LEAVING
    if version.id == world.active_id:
        return Role.ACTIVE
    if isinstance(found, Desired) and version.id == found.id:
        return Role.CANDIDATE
    return Role.LEAVING


def is_recorded_leaving(world: World, version: VersionView) -> bool:
    """Whether it is on record that the version takes no new runs: only then may its runs be counted to zero."""
    if world.fleet is None:
        return world.takes_no_pins
    entry = world.entries.get(version.id)
    return entry is not None and entry.phase in CLOSED_PHASES


def was_never_active(world: World, version: VersionView) -> bool:
    """Whether, by the record, new runs never went to the version since it was last asked for."""
    entry = world.entries.get(version.id)
    if version.id == world.active_id and world.is_own(version):
        return False
    return entry is None or entry.phase in {"Preparing", "Candidate", "Failed", "Superseded"}
