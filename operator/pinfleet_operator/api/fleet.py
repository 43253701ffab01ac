"""A fleet as the run loop sees it: what decides where a run goes, kept in memory by the fleet's last pass."""

from dataclasses import dataclass
from datetime import datetime

from pinfleet_operator.api.run import Limits


@dataclass(frozen=True)
class VersionTrouble:
    """What keeps a version's pods from serving, as the fleet's condition Stalled tells it."""

    version: str  # id
    reason: str
    message: str


@dataclass(frozen=True)
class FleetView:
    """What the run loop needs to know of one AgentDeployment."""

    namespace: str
    name: str
    uid: str
    active_version: str | None  # id of the version that new runs get; None: none is ready yet
    candidate_version: str | None  # id of the version being brought up; an explicit pin may name it
    limits: Limits  # the most that a run may ask for, and its default
    runs_per_pod: int
    run_ttl_seconds: int  # an ended run is deleted after this
    ended_runs_limit: int  # most ended runs kept
    has_four_eyes: bool  # spec.approvals.fourEyes: a run without a requester fails
    is_paused: bool  # spec.paused: no new pins
    is_deleting: bool  # has a deletionTimestamp: no new pins
    cancels_runs: bool  # deleting with deletePolicy Cancel, or its namespace ends: open runs are cancelled
    troubles: tuple[VersionTrouble, ...] = ()  # of versions whose pods need a person

    def trouble_of(self, version: str) -> VersionTrouble | None:
        """Why a version has no pods that take runs; None: it has, or will have them soon."""
        return next((each for each in self.troubles if each.version == version), None)


@dataclass(frozen=True)
class Counts:
    """Runs of one version, by phase, at one resourceVersion of the run watch."""

    open: int = 0  # sum of the four below
    running: int = 0
    parked: int = 0
    pending: int = 0  # pinned to it, not on a pod
    held: int = 0
    oldest_open_run: str | None = None  # name of the open run that was created first
    oldest_open_since: datetime | None = None  # its creation
