"""What the runtime needs of a journal: a few calls, each one transaction.

Implementations are synchronous and used by one thread at a time; several processes may share one database. Times
come in with the rows: a journal reads no clock. ``tests/unit/sdk/journal_contract.py`` holds what every
implementation must do.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from pinfleet.journal.rows import (
    Batch,
    CallPolicy,
    CallRow,
    Claim,
    ClaimResult,
    Commit,
    CommitResult,
    DecisionRow,
    End,
    EndState,
    History,
    InboxRow,
    Migration,
    Owner,
    Records,
    RunRow,
    StepKind,
    StepRow,
    StepStatus,
    WaitRow,
)

__all__ = [
    "Batch",
    "CallPolicy",
    "CallRow",
    "Claim",
    "ClaimResult",
    "Codec",
    "Commit",
    "CommitResult",
    "DecisionRow",
    "End",
    "EndState",
    "History",
    "InboxRow",
    "Journal",
    "Migration",
    "Owner",
    "PlainCodec",
    "Records",
    "RunRow",
    "StepKind",
    "StepRow",
    "StepStatus",
    "WaitRow",
]


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
        """Take a run, whose row is made if there is none; the schema of one that is there stays."""
        ...

    def load(self, run: str) -> History:
        """Read what the run did in the segment that it is in."""
        ...

    def load_whole(self, run: str) -> Records:
        """Read all that the run ever did."""
        ...

    def find(self, words: str = "") -> tuple[RunRow, ...]:
        """Return the runs of this uid or name, the newest first; of no words: the open ones, at most 1,000."""
        ...

    def prune(self, before: datetime, limit: int) -> int:
        """Delete what runs did that ended before a time, at most so many; return how many. See ``retention``."""
        ...

    def erase(self, run: str) -> bool:
        """Delete all that an ended run holds but the fact that it ended; return whether there is such a run."""
        ...

    def commit(self, owner: Owner, batch: Batch, *, max_steps: int, now: datetime) -> CommitResult:
        """Commit a batch if the owner still has the run; known by (identity, epoch, attempt) if it comes again."""
        ...

    def commit_all(self, commits: Sequence[Commit]) -> list[CommitResult]:
        """Commit batches as one transaction does; a refused one drops out alone. In order, one result for each."""
        ...

    def migrate(self, owner: Owner, migration: Migration) -> CommitResult:
        """Take a run to another schema if the owner still has it; known by its ``ran`` rows if it comes again."""
        ...

    def check(self) -> None:
        """Raise unless the database answers, and takes writes."""
        ...

    def close(self) -> None:
        """Let the database go; a later call takes it up again."""
        ...
