"""A run that migrates loses its pod right before, and right after, each of its commits."""

from datetime import datetime

from pinfleet.journal.interface import Batch, CommitResult, Journal, Migration, Owner
from pinfleet.journal.sqlite import SqliteJournal
from pinfleet.journal.wrapped import WrappedJournal
from pinfleet.testing import Run, kill_everywhere
from pinfleet.testing.kill import Plan
from tests.unit.sdk.test_migration import first, migrating


async def moving(run: Run) -> None:
    """Move the run in its three days, and let them pass."""
    await run.move_to(migrating())
    await run.advance(days=3)


test_a_migrated_run_survives_its_pod_at_every_commit = kill_everywhere(first(), "o-1", script=moving)
"""The migration is one of the commits: before it the record is the former one, after it the run goes on."""


class Counting(WrappedJournal):
    """Counts what passes it."""

    def __init__(self, journal: Journal, passed: list[str]) -> None:
        super().__init__(journal)
        self._passed = passed

    def commit(self, owner: Owner, batch: Batch, *, max_steps: int, now: datetime) -> CommitResult:
        """Count a commit."""
        self._passed.append("commit")
        return super().commit(owner, batch, max_steps=max_steps, now=now)

    def migrate(self, owner: Owner, migration: Migration) -> CommitResult:
        """Count a migration."""
        self._passed.append("migrate")
        return super().migrate(owner, migration)


def test_both_sides_of_the_migration_are_cases() -> None:
    """The migration counts among the commits, so a pod goes right before and right after it."""
    passed: list[str] = []
    test = kill_everywhere(
        first(), "o-1", script=moving, journal=lambda folder: Counting(SqliteJournal(folder / "j.db"), passed)
    )
    plan: Plan = test.pinfleet_plan  # type: ignore[attr-defined]
    assert plan.expected.commits == len(passed)
    assert passed.count("migrate") == 1
