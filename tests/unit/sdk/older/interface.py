"""What the runtime needs of a journal: four calls, each one transaction.

Implementations are synchronous and used by one thread at a time; several processes may share one database. Times
come in with the rows: a journal reads no clock. ``tests/unit/sdk/journal_contract.py`` holds what every
implementation must do.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from pinfleet.identity import StepKey

EndState = Literal["succeeded", "failed", "cancelled", "limit"]
StepKind = Literal["step", "tool", "value"]
StepStatus = Literal["ok", "failed"]


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
    answer: bytes | None = None  # JSON; None while it is open
    answered: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one transaction commits, whole or not at all."""

    steps: tuple[StepRow, ...] = ()
    waits: tuple[WaitRow, ...] = ()  # new ones; one that exists is given its answer and nothing else
    parks: bool = False  # the run gives its pod back
    end: End | None = None  # the run is over

    @property
    def counted(self) -> int:
        """How many of its rows count toward maxSteps."""
        return sum(1 for step in self.steps if step.is_counted)


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


@dataclass(frozen=True, slots=True)
class History:
    """What a run did so far, in the segment that it is in."""

    steps: Mapping[StepKey, StepRow] = field(default_factory=dict)
    waits: Mapping[StepKey, WaitRow] = field(default_factory=dict)


class Codec(Protocol):
    """Seals what authors' code put into values, such as by encryption; names, times and counts stay readable."""

    name: str  # stored in each row, so that a codec can be changed

    def seal(self, text: bytes) -> bytes:
        """Return what is stored."""
        ...

    def open(self, stored: bytes) -> bytes:
        """Return what was sealed."""
        ...


class PlainCodec:
    """Stores values as they are."""

    name = ""

    def seal(self, text: bytes) -> bytes:
        """Return the text."""
        return text

    def open(self, stored: bytes) -> bytes:
        """Return the text."""
        return stored


class Journal(Protocol):
    """A journal.

    Every call raises JournalUnavailable when the database does not answer (nothing is known to be written: the same
    call may be made again and does not write twice), and JournalRefused when asking again does not help.
    """

    def claim(self, claim: Claim) -> ClaimResult:
        """Take a run, whose row is made if there is none."""
        ...

    def load(self, run: str) -> History:
        """Read what the run did."""
        ...

    def commit(self, owner: Owner, batch: Batch, *, max_steps: int, now: datetime) -> CommitResult:
        """Commit a batch if the owner still has the run; known by (identity, epoch, attempt) if it comes again."""
        ...

    def check(self) -> None:
        """Raise unless the database answers."""
        ...

    def close(self) -> None:
        """Let the database go."""
        ...
