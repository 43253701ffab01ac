"""The rows of a journal and the values that go into and come out of its calls; no behaviour."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Literal

from pinfleet.identity import StepKey

EndState = Literal["succeeded", "failed", "cancelled", "limit"]
StepKind = Literal["step", "tool", "value"]
StepStatus = Literal["ok", "failed", "unknown"]
CallPolicy = Literal["resend", "reconcile", "unknown"]

ASIDE: Final = "%"
"""Begins the scope of what a migration put aside; the scopes of code escape it."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A pod takes a run: the upsert of (epoch, boot, pod) where the journal's epoch is lower."""

    run: str  # uid of the run
    name: str
    epoch: int
    boot: str  # random per process start
    pod: str  # uid of the pod
    version: str
    schema: int  # the author's number for the shape of the run's state
    now: datetime
    held: int | None = None  # epoch at which live code of this very process has the run, if any


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended; terminal, so it never changes."""

    state: EndState
    outcome: bytes  # JSON text of wire.Outcome


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """What became of a claim.

    claimed: the run is ours. ended: it had ended, nothing was written. parked: ours already, and parked at this very
    epoch. fenced: a higher epoch, or this one of another process, is known.
    """

    status: Literal["claimed", "ended", "parked", "fenced"]
    epoch: int  # the journal's, after the call
    steps: int = 0  # counted steps over all epochs
    end: End | None = None  # when ended
    continues: bool = False  # the live code named by ``held`` had the run until now: it can go on without a restart
    tokens: int = 0  # counted over all epochs
    partial: bytes | None = None  # the newest that was committed


@dataclass(frozen=True, slots=True)
class Owner:
    """Who commits: refused unless the journal knows this epoch as the newest."""

    run: str
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """One recorded step, or one recorded value (the clock, a random number)."""

    key: StepKey
    kind: StepKind
    status: StepStatus
    arguments: bytes  # canonical JSON
    result: bytes  # JSON of the value, or of the failure
    manifest: str  # hash of the agent's manifest that ran it
    attempt: int  # tells two executions under one epoch apart
    begun: datetime
    committed: datetime
    version: str = ""  # filled by the journal
    pod: str = ""  # filled by the journal
    epoch: int = 0  # filled by the journal
    segment: int = 1  # filled by the journal

    @property
    def is_counted(self) -> bool:
        """Whether it counts toward maxSteps."""
        return self.kind != "value"


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitRow:
    """One thing that the run waits for, or waited for."""

    key: StepKey
    kind: Literal["Timer", "Approval", "Message"]
    since: datetime
    until: datetime | None
    request_hash: str = ""  # of what a person is asked
    shown: bytes | None = None  # JSON of what that person sees
    answer: bytes | None = None  # JSON; None while it is open
    answered: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRow:
    """One attempt of a tool's call: the intent, committed before anything is sent. Its result is a step of kind tool.

    The idempotency key is minted with the first attempt; a later one is given the first one's, whatever it says.
    """

    key: StepKey
    idempotency_key: str
    policy: CallPolicy
    attempt: int  # from 1, over all epochs
    arguments: bytes  # canonical JSON
    begun: datetime
    first_sent: datetime | None = None  # of all attempts; a provider counts a key's life from it
    sent: datetime | None = None  # of this one
    version: str = ""  # filled by the journal
    pod: str = ""  # filled by the journal
    epoch: int = 0  # filled by the journal


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxRow:
    """A message to the run."""

    id: str  # the sender's; a message comes once
    number: int  # its place among the run's messages
    body: bytes  # JSON
    received: datetime
    taken_by: StepKey | None = None  # the wait that it answers


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """What a person decided about one request; the first decision stands."""

    request_hash: str
    decision: str
    by: str
    at: datetime
    via: str = ""  # the bridge that spoke for the person
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one transaction commits, whole or not at all.

    Calls, waits, messages and decisions may come again: one that exists is given what it lacks (``sent``, the answer,
    ``taken_by``) and nothing else.
    """

    steps: tuple[StepRow, ...] = ()
    calls: tuple[CallRow, ...] = ()
    waits: tuple[WaitRow, ...] = ()
    inbox: tuple[InboxRow, ...] = ()
    decisions: tuple[DecisionRow, ...] = ()
    tokens: int = 0  # that its steps used; a batch without steps uses none
    partial: bytes | None = None  # replaces the one before; what a run that hits a limit leaves
    restart: bytes | None = None  # after this batch, which records a step or value for it, a new segment begins
    parks: bool = False  # the run gives its pod back
    end: End | None = None  # the run is over

    def __post_init__(self) -> None:
        """Some things are known by the batch's steps when it comes again, however late."""
        if not self.steps and (self.tokens or self.restart is not None):
            raise ValueError("tokens and a restart go with the step that they are of; this batch has no step")

    @property
    def counted(self) -> int:
        """How many of its rows count toward maxSteps."""
        return sum(1 for step in self.steps if step.is_counted)

    def after(self, kept: "Batch") -> "Batch":
        """Return this batch with the rows that were kept for it in front."""
        return replace(
            self,
            steps=kept.steps + self.steps,
            calls=kept.calls + self.calls,
            waits=kept.waits + self.waits,
            inbox=kept.inbox + self.inbox,
            decisions=kept.decisions + self.decisions,
            partial=self.partial if self.partial is not None else kept.partial,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """What takes a run from one schema to another, whole or not at all.

    Nothing is deleted: what the new code must not read is put aside, where only people find it.
    """

    schema: int  # that the run has; another one is refused
    to: int  # that it has then
    ran: tuple[StepRow, ...]  # one for each migration, of kind value; they are put aside too
    replaced: tuple[StepKey, ...] = ()  # steps for which ``steps`` has a row in their place
    dropped: tuple[StepKey, ...] = ()  # steps that are put aside with their calls and waits
    steps: tuple[StepRow, ...] = ()  # rows keep who recorded them; what the journal fills is taken as it is
    state: bytes | None = None  # in place of what the segment began with

    def aside(self, key: StepKey) -> StepKey:
        """Return where a row is put: no code has a scope that begins like this."""
        scope = f"{ASIDE}{self.schema}"
        return key._replace(scope=f"{scope}/{key.scope}" if key.scope else scope)


@dataclass(frozen=True, slots=True)
class Commit:
    """A batch, as it is asked for."""

    owner: Owner
    batch: Batch
    max_steps: int  # the run's bound, over all epochs
    now: datetime


@dataclass(frozen=True, slots=True)
class CommitResult:
    """What became of a batch.

    committed: it is durable. fenced: another epoch has the run, or the run is ended or parked. limit: it would pass
    maxSteps. taken: a row of that identity stands there from another execution.
    """

    status: Literal["committed", "fenced", "limit", "taken"]
    epoch: int  # the journal's
    steps: int
    end: End | None = None  # the run's recorded end, if it has one
    tokens: int = 0  # counted over all epochs
    partial: bytes | None = None  # when limit: what was committed last


@dataclass(frozen=True, slots=True)
class History:
    """What a run did so far, in the segment that it is in."""

    steps: Mapping[StepKey, StepRow] = field(default_factory=dict)
    waits: Mapping[StepKey, WaitRow] = field(default_factory=dict)
    calls: Mapping[StepKey, CallRow] = field(default_factory=dict)  # the newest attempt of each
    inbox: Mapping[str, InboxRow] = field(default_factory=dict)  # by id: those that no earlier segment took
    decisions: Mapping[str, DecisionRow] = field(default_factory=dict)  # by request hash, of all segments
    segment: int = 1
    state: bytes | None = None  # what ``restart`` left for this segment; None in the first
    schema: int = 0  # of the code that it is of; 0: not known


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run as the journal knows it."""

    uid: str
    name: str
    version: str  # that claimed it last
    epoch: int
    pod: str  # uid of the pod that claimed it last
    schema: int
    segment: int
    state: str  # running, parked, or how it ended
    steps: int  # counted ones, over all epochs
    tokens: int
    created: datetime
    claimed: datetime
    ended: datetime | None = None
    outcome: bytes | None = None  # JSON text of wire.Outcome; None while it is open

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.outcome is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Everything that a run did, in all its segments; for people and tools, not for replay."""

    steps: tuple[StepRow, ...]  # as they were committed
    calls: tuple[CallRow, ...]  # every attempt, as they began
    waits: tuple[WaitRow, ...]  # as they began
    inbox: tuple[InboxRow, ...]  # by number
    decisions: tuple[DecisionRow, ...]  # as they were made
