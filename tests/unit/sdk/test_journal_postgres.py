"""The journal on PostgreSQL: the contract, and what is PostgreSQL's own."""

from collections.abc import Iterator

import pytest

from pinfleet.journal.postgres import PostgresJournal
from pinfleet.rules import without
from tests.unit.sdk.fleets import Fleet
from tests.unit.sdk.journal_contract import JournalContract
from tests.unit.sdk.migration_contract import MigrationContract


@pytest.fixture
def journal(fleet: Fleet) -> Iterator[PostgresJournal]:
    """Open a new journal."""
    opened = fleet.journal()
    yield opened
    opened.close()


class TestContract(JournalContract):
    """PostgreSQL keeps the contract."""


class TestMigrationContract(MigrationContract):
    """PostgreSQL keeps the contract of migrations."""


class TestNegativeControls:
    """With its rule taken out, the contract's assertion fails."""

    def test_without_fence(self, fleet: Fleet) -> None:
        """Without the fence a stale epoch commits."""
        with pytest.raises(AssertionError):
            JournalContract().test_stale_epoch_commits_nothing(fleet.journal(rules=without("fence")))

    def test_without_boot(self, fleet: Fleet) -> None:
        """Without the own-boot part another process claims the same epoch."""
        with pytest.raises(AssertionError):
            JournalContract().test_lower_or_equal_epoch_of_another_is_fenced(fleet.journal(rules=without("boot")), 2)

    def test_without_terminal_answer(self, fleet: Fleet) -> None:
        """Without the answer of ended runs a higher epoch takes one up again."""
        with pytest.raises(AssertionError):
            JournalContract().test_claim_of_an_ended_run(fleet.journal(rules=without("terminal-answer")))
