"""What a plan may ask for: a closed union, in the order in which ``apply`` carries it out.

Every write names the object that it was decided on by uid and resourceVersion, so that a sleeping leader's write fails.
"""

from dataclasses import dataclass
from datetime import datetime

from pinfleet_operator.api.fleet import FleetView
from pinfleet_operator.api.models.agent_deployment import AgentDeploymentStatus
from pinfleet_operator.api.models.agent_version import AgentVersionSpec, AgentVersionStatus


@dataclass(frozen=True)
class AddFinalizer:
    """Hold the fleet's object while it has versions."""


@dataclass(frozen=True)
class RemoveFinalizer:
    """Let the fleet's object go: no version is left."""


@dataclass(frozen=True)
class CreateVersion:
    """Make a version from the spec; it never changes afterwards."""

    spec: AgentVersionSpec


@dataclass(frozen=True)
class DeleteVersion:
    """Remove a version's record; its Secret goes with it."""

    name: str
    uid: str
    resource_version: int


@dataclass(frozen=True)
class WriteSecret:
    """Make the Secret with the version's token before its first pod, or set it right under this process's key."""

    version: str  # id
    version_uid: str


@dataclass(frozen=True)
class CreatePod:
    """Make a pod of a version from its stored template."""

    version: str  # id
    version_uid: str
    name: str


@dataclass(frozen=True)
class ClosePod:
    """Keep new runs away from a pod, in memory; the first step of a removal, and reversible."""

    uid: str


@dataclass(frozen=True)
class ReopenPod:
    """Let a closed pod have runs again."""

    uid: str


@dataclass(frozen=True)
class CordonPod:
    """Label a pod as leaving: the second step."""

    name: str
    uid: str
    resource_version: int


@dataclass(frozen=True)
class DeletePod:
    """Delete a pod: the third step, or the burial of a dead one."""

    name: str
    uid: str
    resource_version: int


@dataclass(frozen=True)
class ConfirmEmpty:
    """Count a version's open runs by a consistent LIST, once what is in flight has settled (rule 7)."""

    version: str  # id
    version_uid: str


@dataclass(frozen=True)
class ConfirmAsleep:
    """Read by a consistent LIST that every open run of a version is parked or held, likewise."""

    version: str  # id
    version_uid: str


@dataclass(frozen=True)
class Promote:
    """Make a version the one that new runs get: one status write, with pinning closed around it (rule 3)."""

    version: str  # id
    status: AgentDeploymentStatus
    view: FleetView  # holds once the write succeeded


@dataclass(frozen=True)
class WriteStatus:
    """Write the fleet's status, `activeVersion` unchanged."""

    status: AgentDeploymentStatus


@dataclass(frozen=True)
class MirrorStatus:
    """Write a version's status, a copy for people."""

    name: str
    version_uid: str
    resource_version: int
    status: AgentVersionStatus


@dataclass(frozen=True)
class SetFleet:
    """Tell the run loop how the fleet stands."""

    view: FleetView


@dataclass(frozen=True)
class DropFleet:
    """Tell the run loop that there is no such fleet."""


Action = (
    AddFinalizer
    | RemoveFinalizer
    | CreateVersion
    | DeleteVersion
    | WriteSecret
    | CreatePod
    | ClosePod
    | ReopenPod
    | CordonPod
    | DeletePod
    | ConfirmEmpty
    | ConfirmAsleep
    | Promote
    | WriteStatus
    | MirrorStatus
    | SetFleet
    | DropFleet
)


@dataclass(frozen=True)
class Steps:
    """A part of a plan."""

    actions: tuple[Action, ...] = ()
    again_at: datetime | None = None  # when the clock alone may change the answer; None: only an event does

    def __add__(self, other: "Steps") -> "Steps":
        """This part, then the other."""
        times = [at for at in (self.again_at, other.again_at) if at is not None]
        return Steps((*self.actions, *other.actions), min(times, default=None))


@dataclass(frozen=True)
class Plan:
    """Everything that one pass does."""

    actions: tuple[Action, ...]
    requeue_after: float | None  # seconds; None: nothing changes without an event
