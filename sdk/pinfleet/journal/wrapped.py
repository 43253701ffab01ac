"""A journal around another, for those who watch or break what goes through it: they override what they are about."""

from collections.abc import Sequence
from datetime import datetime

from pinfleet.journal.interface import (
    Batch,
    Claim,
    ClaimResult,
    Commit,
    CommitResult,
    History,
    Journal,
    Migration,
    Owner,
    Records,
    RunRow,
)


class WrappedJournal:
    """Passes every call on.

    Args:
        journal: The journal itself.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def claim(self, claim: Claim) -> ClaimResult:
        """Take a run; see ``Journal``."""
        return self._journal.claim(claim)

    def load(self, run: str) -> History:
        """Read what the run did; see ``Journal``."""
        return self._journal.load(run)

    def load_whole(self, run: str) -> Records:
        """Read all that the run ever did; see ``Journal``."""
        return self._journal.load_whole(run)

    def find(self, words: str = "") -> tuple[RunRow, ...]:
        """Find runs; see ``Journal``."""
        return self._journal.find(words)

    def commit(self, owner: Owner, batch: Batch, *, max_steps: int, now: datetime) -> CommitResult:
        """Commit a batch; see ``Journal``."""
        return self._journal.commit(owner, batch, max_steps=max_steps, now=now)

    def commit_all(self, commits: Sequence[Commit]) -> list[CommitResult]:
        """Commit one after the other, so that each passes ``commit``."""
        return [self.commit(each.owner, each.batch, max_steps=each.max_steps, now=each.now) for each in commits]

    def migrate(self, owner: Owner, migration: Migration) -> CommitResult:
        """Take a run to another schema; see ``Journal``."""
        return self._journal.migrate(owner, migration)

    def prune(self, before: datetime, limit: int) -> int:
        """Delete what ended runs did; see ``Journal``."""
        return self._journal.prune(before, limit)

    def erase(self, run: str) -> bool:
        """Delete what a run holds; see ``Journal``."""
        return self._journal.erase(run)

    def check(self) -> None:
        """Raise unless the database answers, and takes writes."""
        self._journal.check()

    def close(self) -> None:
        """Let the database go."""
        self._journal.close()
