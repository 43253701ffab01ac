"""What one process remembers of a fleet between passes, because no object of the cluster tells it.

``observe`` hands it to the planner as values, ``apply`` adds to it. A new process starts without it: times begin anew,
and a refused write is tried once more. No decision is wrong without it, some come later.
"""

from dataclasses import dataclass, field
from datetime import datetime

from pinfleet_operator.plan.world import FleetState, Refusal

FleetKey = tuple[str, str]  # namespace, name


@dataclass(frozen=True)
class Verdict:
    """What a dry run of a version's pod said."""

    spec_hash: str
    error: str | None  # None: the pod is valid
    asked_at: datetime


@dataclass(frozen=True)
class Read:
    """The fleet as it was read last; most passes read the same text again."""

    text: bytes
    fleet: FleetState


@dataclass(frozen=True)
class UnknownPromote:
    """A promote whose answer was lost."""

    resource_version: str  # that it carried: once the fleet has another, it can no longer be carried out
    sent_at: datetime


@dataclass
class FleetMemory:
    """Of one fleet."""

    read: Read | None = None
    verdict: Verdict | None = None
    status_written_at: datetime | None = None
    promote: UnknownPromote | None = None
    secrets: dict[str, datetime] = field(default_factory=dict)  # by version uid: when its Secret was last written
    refusals: dict[str, Refusal] = field(default_factory=dict)  # by version uid
    empty_versions: dict[str, datetime] = field(default_factory=dict)  # by version uid
    empty_pods: dict[str, datetime] = field(default_factory=dict)  # by pod uid
    deleting_pods: dict[str, datetime] = field(default_factory=dict)  # by pod uid

    def keep(self, version_uids: set[str], pod_uids: set[str]) -> None:
        """Forget versions and pods that are gone."""
        for by_version in (self.secrets, self.refusals, self.empty_versions):
            for uid in set(by_version) - version_uids:
                del by_version[uid]
        for by_pod in (self.empty_pods, self.deleting_pods):
            for uid in set(by_pod) - pod_uids:
                del by_pod[uid]


class Memory:
    """Of every fleet."""

    def __init__(self) -> None:
        self._fleets: dict[FleetKey, FleetMemory] = {}

    def of(self, key: FleetKey) -> FleetMemory:
        """The fleet's memory, made when first asked for."""
        return self._fleets.setdefault(key, FleetMemory())

    def forget(self, key: FleetKey) -> None:
        """The fleet is gone, and so are its versions."""
        self._fleets.pop(key, None)


def note(times: dict[str, datetime], uid: str, now: datetime, *, holds: bool) -> datetime | None:
    """Since when something holds, remembered from the first time that it was seen; None: it does not hold."""
    if not holds:
        times.pop(uid, None)
        return None
    return times.setdefault(uid, now)
