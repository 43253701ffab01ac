"""What is known of one run at one moment, and what can be done about it: the values between the loop and ``judge``.

Pure data. The loop builds a ``Situation`` from the store, ``judge`` answers with actions, the loop carries them out.
"""

from dataclasses import dataclass
from datetime import datetime

from pinfleet.wire import Decision, EndReason, RunListing
from pinfleet_operator.api.approval import ApprovalPhase, ApprovalRecord
from pinfleet_operator.api.child import PodRecord
from pinfleet_operator.api.fleet import FleetView
from pinfleet_operator.api.mirror import PodMirror
from pinfleet_operator.api.run import ALONE_AT_DEATHS, Phase, RunRecord
from pinfleet_operator.api.settings import Settings


@dataclass(frozen=True)
class Listed:
    """A pod's word on a run."""

    pod_uid: str
    listing: RunListing


@dataclass(frozen=True)
class Told:
    """A DELETE of this process's to a pod."""

    pod_uid: str
    epoch: int
    at: datetime  # first attempt
    is_delivered: bool  # the pod answered


@dataclass(frozen=True)
class Refused:
    """What was refused, since when."""

    since: datetime
    message: str


@dataclass(frozen=True)
class Situation:
    """Everything that a decision on one run may look at."""

    uid: str
    run: RunRecord | None  # None: the store has no such object
    is_absent: bool  # a consistent GET did not find this uid
    fleet: FleetView | None  # None: no AgentDeployment of that name
    may_pin: bool  # False while a promote's outcome is unknown
    now: datetime  # by the API server's clock
    is_pod_gone: bool  # no process of the assigned pod can act any more
    pod: PodRecord | None  # the assigned pod's last sight, a tombstone if it is gone; None: never seen
    mirror: PodMirror | None  # the assigned pod's last answers; None: none yet
    silent_since: datetime | None  # since when the assigned pod does not answer; None: it does, or was not asked
    is_network_doubtful: bool  # so many pods are silent that the fault is likelier ours (rule 6): no pod is deleted
    listed: tuple[Listed, ...]  # every pod that lists the run, the assigned one too, by pod uid
    steps_heard: int  # most steps that a pod ever reported to this process
    told: tuple[Told, ...]  # which executions this process has told to end
    offer_refused: Refused | None  # the assigned pod refuses its offer, for a reason that another pod would not mend
    next_offer_at: datetime | None  # before, the same epoch is not offered again; None: at once
    above_epoch: int  # epoch that a refused offer named (rule 13); 0: none did
    approvals: tuple[ApprovalRecord, ...]  # every decision that names the run's uid
    decisions: tuple[Decision, ...]  # those that the run gets, and has not seen, by hash
    next_update_at: datetime | None  # before, its pod is not sent again what it has not recorded yet; None: at once
    next_wake_at: datetime | None  # before, it is not woken again for what its last wake did not record; None: at once
    died_with: int | None  # runs on the assigned pod when it died; None: it lives, or died before this process knew it
    can_place: bool  # some pod of the run's version has a free slot
    can_place_alone: bool  # some pod of its version is empty, and no other run has one to itself
    lost_since: datetime | None  # since when this process sees the run without a pod that could take it
    reported_at: datetime  # last progress or reason write of this process, or when it first saw the run
    is_surplus: bool  # ended, and one more than its fleet keeps
    settings: Settings

    def has_place(self, pod_deaths: int) -> bool:
        """Whether a run with so many deaths behind it can go on a pod now (rule 17)."""
        return self.can_place_alone if pod_deaths >= ALONE_AT_DEATHS else self.can_place

    def told_of(self, pod_uid: str | None, epoch: int) -> Told | None:
        """Whether and when the execution at `epoch` was told to end."""
        return next((each for each in self.told if (each.pod_uid, each.epoch) == (pod_uid, epoch)), None)

    @property
    def own(self) -> RunListing | None:
        """What the assigned pod says of the run."""
        if self.run is None or self.run.phase != "Running":
            return None
        return next((each.listing for each in self.listed if each.pod_uid == self.run.pod_uid), None)


@dataclass(frozen=True)
class Assign:
    """Give the run to a pod of `version`, at the next epoch, in one write."""

    version: str
    attempts: int  # as they will stand
    above_epoch: int = 0  # the epoch that a journal or pod knows; the next is above it too
    wake: tuple[str, ...] = ()  # ids of timers seen due
    message: str = ""  # why the last execution ended without an outcome
    pod_deaths: int = 0  # as they will stand; from ALONE_AT_DEATHS on it goes on an empty pod


@dataclass(frozen=True)
class Pin:
    """Write an explicit pin before a pod is found, so that the version counts the run as open."""

    version: str


@dataclass(frozen=True)
class SendOffer:
    """Offer the run to its assigned pod at its epoch."""

    end: EndReason | None = None  # claim and end without executing


@dataclass(frozen=True)
class Tell:
    """Tell a pod to end the run (DELETE)."""

    pod_uid: str
    epoch: int
    reason: EndReason


@dataclass(frozen=True)
class Ack:
    """Let a pod forget the run: what it said is stored, or does not matter any more."""

    pod_uid: str
    epoch: int


@dataclass(frozen=True)
class WriteEnd:
    """Write a terminal phase."""

    phase: Phase
    reason: str
    message: str
    listing: RunListing | None = None  # where the outcome comes from; None: judged by the operator


@dataclass(frozen=True)
class WriteParked:
    """Write that the run waits without a pod."""

    listing: RunListing


@dataclass(frozen=True)
class WriteHeld:
    """Write that the run cannot be resumed safely."""

    listing: RunListing


@dataclass(frozen=True)
class WritePending:
    """Write that the run lost its pod and waits for another."""

    attempts: int
    reason: str
    message: str
    pod_deaths: int = 0  # as they will stand


@dataclass(frozen=True)
class Report:
    """Write progress of a running run, or why an open one waits."""

    reason: str
    message: str
    listing: RunListing | None = None


@dataclass(frozen=True)
class KillPod:
    """Cordon and delete a pod that neither ends a run nor answers."""

    pod_uid: str


@dataclass(frozen=True)
class ConfirmAbsent:
    """Ask the API server consistently whether the uid exists."""

    name: str
    pod_uid: str


@dataclass(frozen=True)
class DeleteRun:
    """Delete an ended run whose time to live is over."""


@dataclass(frozen=True)
class JudgeApproval:
    """Write once what becomes of a person's decision."""

    approval: ApprovalRecord
    phase: ApprovalPhase
    reason: str
    message: str


@dataclass(frozen=True)
class DropApproval:
    """Delete a person's decision whose run is gone."""

    approval: ApprovalRecord


Action = (
    Assign
    | Pin
    | SendOffer
    | Tell
    | Ack
    | WriteEnd
    | WriteParked
    | WriteHeld
    | WritePending
    | Report
    | KillPod
    | ConfirmAbsent
    | DeleteRun
    | JudgeApproval
    | DropApproval
)


@dataclass(frozen=True)
class Verdict:
    """What to do now, in order, and when to look again if nothing happens before."""

    actions: tuple[Action, ...] = ()
    again_at: datetime | None = None  # None: only an event can change anything
    needs_slot: bool = False  # a free slot of its version is all that it waits for
    alone: bool = False  # on a pod of its own
