"""What the checkers look at: every state of every object, and what pods and journals did."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.sim.record import Record
from tests.sim.server import Json
from tests.sim.world import FLEET, TERMINAL, World

REPORT_SECONDS = 30.0


@dataclass(frozen=True)
class Change:
    """One state of an object."""

    rv: int
    at: float
    verb: str  # ADDED, MODIFIED, DELETED
    item: Json

    @property
    def status(self) -> Json:
        """Its status."""
        found: Json = self.item.get("status", {})
        return found

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.item["metadata"]["name"])


class Watched(Protocol):
    """What has been seen of a cluster: a simulation's history, or a recording."""

    @property
    def ended_at(self) -> float:
        """When the seeing ended."""

    def of(self, plural: str) -> list[Change]:
        """States of all objects of one kind, in order."""


@dataclass
class History:
    """Of one simulation."""

    changes: dict[str, list[Change]] = field(default_factory=lambda: defaultdict(list))  # by plural
    record: Record = field(default_factory=Record)
    journal: dict[str, Json] = field(default_factory=dict)  # run uid -> state, version, row_versions
    logs: list[Any] = field(default_factory=list)
    ended_at: float = 0.0
    was_restored: bool = False  # etcd was put back: what is in here is what it remembers
    has_faults: bool = True  # pods, messages or operators failed: bodies may begin twice
    fleet: str = FLEET  # the one whose versions are looked at

    def of(self, plural: str) -> list[Change]:
        """States of all objects of one kind, in order."""
        return self.changes[plural]

    def runs(self) -> dict[str, list[Change]]:
        """States of each run, by uid."""
        found: dict[str, list[Change]] = defaultdict(list)
        for change in self.changes["agentruns"]:
            found[change.item["metadata"]["uid"]].append(change)
        return found

    def actives(self) -> list[tuple[int, str]]:
        """(resourceVersion, active version) at each switch."""
        found: list[tuple[int, str]] = []
        for change in self.changes["agentdeployments"]:
            active = change.status.get("activeVersion")
            if change.name == self.fleet and active and (not found or found[-1][1] != active):
                found.append((change.rv, active))
        return found


def history_of(world: World, *, has_faults: bool = True) -> History:
    """What happened in a world so far."""
    found = History(record=world.record, logs=world.logs, has_faults=has_faults)
    found.was_restored = world.server.restores > 0
    found.ended_at = asyncio.get_running_loop().time()
    for rv, plural, verb, item in world.server.history:
        found.changes[plural].append(Change(rv, world.server.times[rv], verb, item))
    found.journal = world.journal_rows()
    return found


def is_terminal(status: Json) -> bool:
    """Whether a run with this status has ended."""
    return status.get("phase") in TERMINAL
