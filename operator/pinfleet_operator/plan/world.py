"""What a fleet's pass sees: frozen values, sorted, so that the same world in any order gives the same plan.

``observe`` makes it; every module of ``plan`` reads it. What no object of the cluster tells (since when a pod is empty,
a refusal of the API server) comes from ``plan.memory`` as a value; losing that memory costs a delay, never a run.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from pinfleet_operator.api.child import PodRecord, VersionRecord
from pinfleet_operator.api.fleet import Counts
from pinfleet_operator.api.models.agent_deployment import (
    AgentDeploymentSpec,
    AgentDeploymentStatus,
    FleetVersionStatus,
)
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.plan.hashing import spec_hash


@dataclass(frozen=True)
class PodView:
    """One pod of a version, as its object and its server tell."""

    record: PodRecord
    runs: int  # runs assigned to it, on their way to it, or listed by it; of a dead pod: those not yet assigned anew
    has_answered: bool  # this process ever got an answer from its server
    answers: bool  # its last answer named the right version, it is not draining, and no call failed since
    failing_since: datetime | None  # first failed call since the last answer
    capacity: int  # most runs that it says it can hold: code that was ended and does not stop lowers it
    is_closed: bool  # placement ignores it: it is about to be removed
    empty_since: datetime | None  # since when it is seen without runs; None: it has some
    deleting_since: datetime | None  # since when its deletion is seen to be under way
    is_taken_alone: bool = False  # one run has it to itself (rule 17)

    @property
    def is_live(self) -> bool:
        """Whether it counts as one of its version's pods."""
        return not (self.record.is_terminal or self.record.deleting or self.record.cordoned)

    @property
    def is_ready(self) -> bool:
        """Whether it takes runs: Ready by its kubelet, and its server says so too (design, section 3)."""
        return self.is_live and self.record.ready and self.answers

    def slots(self, runs_per_pod: int) -> int:
        """Most runs that it takes; one that does not answer is given the benefit of the doubt: it may be starting."""
        return min(self.capacity, runs_per_pod) if self.answers else runs_per_pod

    @property
    def is_known_empty(self) -> bool:
        """Whether it holds nothing. A Ready pod that was never heard may list runs that no object names any more."""
        return self.runs == 0 and (self.has_answered or not self.record.ready)


@dataclass(frozen=True)
class Refusal:
    """The API server refuses a version's pods: quota, Pod Security, a policy, or the template itself."""

    message: str  # in the server's words
    times: int  # in a row
    last_at: datetime


@dataclass(frozen=True)
class VersionView:
    """One version with its pods and runs."""

    record: VersionRecord
    counts: Counts
    due: int  # parked runs that are to be woken
    next_due_at: datetime | None  # when a wait of the other parked runs comes first to its time
    pods: tuple[PodView, ...]  # by name
    is_confirmed_empty: bool  # a consistent LIST found no open run, and none was seen since (rule 7)
    is_confirmed_asleep: bool  # such a LIST found every open run parked or held, and none was seen awake since
    empty_since: datetime | None  # since when it is seen without open runs
    secret_written_at: datetime | None  # when this process last wrote its token's Secret; None: it did not
    refusal: Refusal | None  # of its pods, since the last success
    alone: int = 0  # of the runs that need a slot, those that share no pod; one at a time has one (rule 17)

    def __post_init__(self) -> None:
        """Sort, as the world does."""
        object.__setattr__(self, "pods", tuple(sorted(self.pods, key=lambda pod: pod.record.name)))

    @property
    def id(self) -> str:
        """The version's id."""
        return self.record.id

    @property
    def live(self) -> tuple[PodView, ...]:
        """Its pods that are not dead, ending or cordoned."""
        return tuple(pod for pod in self.pods if pod.is_live)

    @property
    def has_unheard(self) -> bool:
        """Whether a pod of it is Ready by its kubelet, and its server was neither heard nor found silent yet."""
        return any(pod.record.ready and not pod.has_answered and pod.failing_since is None for pod in self.live)

    @property
    def ready(self) -> int:
        """Number of its pods that take runs."""
        return sum(pod.is_ready for pod in self.pods)


@dataclass(frozen=True)
class FleetState:
    """The AgentDeployment, as a consistent GET shows it."""

    uid: str
    generation: int
    resource_version: str
    spec: AgentDeploymentSpec | None  # None: it does not fit the schema that this operator knows
    spec_error: str  # why it does not fit
    status: AgentDeploymentStatus
    is_deleting: bool
    finalizers: tuple[str, ...]

    @cached_property
    def spec_hash(self) -> str:
        """Of the version that the spec describes; "": it cannot be read."""
        return spec_hash(self.spec) if self.spec is not None else ""


@dataclass(frozen=True)
class LostVersion:
    """A version that the status names, whose object is gone while runs are pinned to it."""

    id: str
    counts: Counts


@dataclass(frozen=True)
class Reach:
    """How many pods of the whole operator answer, among those that should."""

    answering: int = 0
    unreachable: int = 0  # since their last answer a call failed

    @property
    def is_doubtful(self) -> bool:
        """Whether the operator's own network is the likelier culprit (rule 6)."""
        total = self.answering + self.unreachable
        return self.unreachable >= 3 and (self.answering == 0 or self.unreachable * 3 > total)  # noqa: PLR2004


@dataclass(frozen=True)
class World:
    """Everything that one pass over one fleet decides on."""

    namespace: str
    name: str
    now: datetime
    fleet: FleetState | None  # None: it is gone, its versions are to be swept
    versions: tuple[VersionView, ...]  # every version under the fleet's name, whatever its uid; by revision, then id
    lost: tuple[LostVersion, ...]  # by id
    unpinned: int  # open runs of the fleet without a version
    counted_at: str  # resourceVersion at which all counts were read
    is_synced: bool  # the store has listed everything at least once
    reach: Reach
    is_namespace_ending: bool
    takes_no_pins: bool  # the run loop knows that the fleet takes no new runs, because it is deleted or gone
    template_error: str | None  # why the API server refuses the pods of the spec's version; None: it does not
    is_claim_missing: bool  # the spec's claim for journals does not exist
    status_written_at: datetime | None  # last write of the fleet's status by this process
    settings: Settings

    def __post_init__(self) -> None:
        """Sort, so that no order of arrival shows in a plan."""
        ordered = sorted(self.versions, key=lambda each: (each.record.revision, each.id))
        object.__setattr__(self, "versions", tuple(ordered))
        object.__setattr__(self, "lost", tuple(sorted(self.lost, key=lambda each: each.id)))

    @cached_property
    def entries(self) -> dict[str, FleetVersionStatus]:
        """What the status says of each version, by id."""
        return {} if self.fleet is None else {each.name: each for each in self.fleet.status.versions}

    @property
    def active_id(self) -> str | None:
        """Id of the version that new runs get."""
        return None if self.fleet is None else self.fleet.status.active_version

    @property
    def is_ending(self) -> bool:
        """Whether the fleet is gone or being deleted: every version drains."""
        return self.fleet is None or self.fleet.is_deleting

    def later(self, seconds: float) -> datetime:
        """The time `seconds` from now."""
        return self.now + timedelta(seconds=seconds)

    def ago(self, seconds: float) -> datetime:
        """The time `seconds` before now."""
        return self.now - timedelta(seconds=seconds)

    def is_own(self, version: VersionView) -> bool:
        """Whether a version belongs to this fleet, not to an earlier one of the same name."""
        return self.fleet is not None and version.record.fleet_uid == self.fleet.uid
