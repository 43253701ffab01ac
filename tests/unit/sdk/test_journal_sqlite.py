"""The journal on SQLite: the contract, and what is SQLite's own."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinfleet.errors import JournalRefused, JournalUnavailable
from pinfleet.journal import sqlite_schema
from pinfleet.journal.filesystem import require_local
from pinfleet.journal.interface import Batch
from pinfleet.journal.sqlite import SqliteJournal
from pinfleet.rules import without
from tests.unit.sdk.journal_contract import DONE, NOW, JournalContract, claim, commit, step
from tests.unit.sdk.migration_contract import MigrationContract


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    """Open a new journal."""
    opened = SqliteJournal(tmp_path / "journal.db", busy_seconds=0.05)
    yield opened
    opened.close()


class TestContract(JournalContract):
    """SQLite keeps the contract."""


class TestMigrationContract(MigrationContract):
    """SQLite keeps the contract of migrations."""


class TestNegativeControls:
    """With its rule taken out, the contract's assertion fails."""

    def test_without_fence(self, tmp_path: Path) -> None:
        """Without the fence a stale epoch commits."""
        journal = SqliteJournal(tmp_path / "journal.db", rules=without("fence"))
        with pytest.raises(AssertionError):
            JournalContract().test_stale_epoch_commits_nothing(journal)

    def test_without_boot(self, tmp_path: Path) -> None:
        """Without the own-boot part another process claims the same epoch."""
        journal = SqliteJournal(tmp_path / "journal.db", rules=without("boot"))
        with pytest.raises(AssertionError):
            JournalContract().test_lower_or_equal_epoch_of_another_is_fenced(journal, 2)

    def test_without_terminal_answer(self, tmp_path: Path) -> None:
        """Without the answer of ended runs a higher epoch takes one up again."""
        journal = SqliteJournal(tmp_path / "journal.db", rules=without("terminal-answer"))
        with pytest.raises(AssertionError):
            JournalContract().test_claim_of_an_ended_run(journal)


def test_durable(journal: SqliteJournal) -> None:
    """What is committed survives a power cut: WAL with synchronous=FULL."""
    journal.check()
    assert journal._connection is not None
    assert journal._connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert journal._connection.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_locked(journal: SqliteJournal, tmp_path: Path) -> None:
    """A database that another process locks is unavailable, said with its path, and usable afterwards."""
    journal.claim(claim())
    other = sqlite3.connect(tmp_path / "journal.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalUnavailable, match=r"journal\.db: database is locked"):
        commit(journal, Batch(steps=(step(),)))
    other.execute("ROLLBACK")
    other.close()
    assert commit(journal, Batch(steps=(step(),))).steps == 1


@pytest.mark.case("runs: a full journal")
def test_full(journal: SqliteJournal) -> None:
    """A full disk is unavailable, loses nothing, and is usable once there is room."""
    journal.claim(claim())
    assert journal._connection is not None
    pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
    journal._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalUnavailable, match="full"):
        commit(journal, Batch(steps=(step(result=b"1" * 100_000),)))
    assert commit(journal, Batch(steps=(step(),))).steps == 1


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be read as a page" * 100, b"\x00" * 4096])
def test_damaged(tmp_path: Path, content: bytes) -> None:
    """A file that is no database is refused by its name."""
    (tmp_path / "journal.db").write_bytes(content)
    with pytest.raises(JournalRefused, match=r"journal\.db"):
        SqliteJournal(tmp_path / "journal.db").check()


def test_missing_folder(tmp_path: Path) -> None:
    """A folder that is not there is asked for with a question that helps, and found once it is."""
    journal = SqliteJournal(tmp_path / "gone" / "journal.db")
    with pytest.raises(JournalUnavailable, match="is the claim mounted"):
        journal.check()
    (tmp_path / "gone").mkdir()
    journal.check()


def test_read_only(journal: SqliteJournal, tmp_path: Path) -> None:
    """A database that takes no writes is unavailable, and says so; nothing is half written, and it goes on after."""
    journal.claim(claim())
    journal.close()
    journal._connection = sqlite3.connect(f"file:{tmp_path}/journal.db?mode=ro", uri=True, isolation_level=None)
    with pytest.raises(JournalUnavailable, match="readonly database"):
        commit(journal, Batch(steps=(step(1), step(2))))
    assert journal.load("r1").steps == {}
    assert commit(journal, Batch(steps=(step(1), step(2)))).steps == 2


def test_newer_minor_is_served(tmp_path: Path) -> None:
    """A newer SDK has expanded the tables: this one goes on serving its runs."""
    first = SqliteJournal(tmp_path / "journal.db")
    first.claim(claim())
    assert first._connection is not None
    first._connection.execute("UPDATE meta SET value = '99' WHERE key = 'minor'")
    first._connection.execute("ALTER TABLE step ADD COLUMN later TEXT")
    first.close()
    second = SqliteJournal(tmp_path / "journal.db")
    assert commit(second, Batch(steps=(step(),))).steps == 1
    assert set(second.load("r1").steps) == {step().key}


def test_newer_major_is_refused(tmp_path: Path) -> None:
    """Another major is another contract."""
    first = SqliteJournal(tmp_path / "journal.db")
    first.check()
    assert first._connection is not None
    first._connection.execute("UPDATE meta SET value = ? WHERE key = 'major'", (str(sqlite_schema.MAJOR + 1),))
    first.close()
    with pytest.raises(JournalRefused, match="major 2"):
        SqliteJournal(tmp_path / "journal.db").check()


@pytest.mark.parametrize(
    ("kind", "is_local"), [("ext4", True), ("overlay", True), ("nfs4", False), ("9p", False), ("fuse.sshfs", False)]
)
def test_local_only(tmp_path: Path, kind: str, *, is_local: bool) -> None:
    """A file system that several machines share is refused by its name; the deepest mount counts."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:1 / {str(tmp_path).replace(' ', chr(92) + '040')} rw - {kind} x rw\n"
    )
    if is_local:
        require_local(tmp_path, mounts)
        return
    with pytest.raises(JournalRefused, match=kind):
        require_local(tmp_path, mounts)


def test_times_are_the_callers(journal: SqliteJournal) -> None:
    """A journal reads no clock."""
    journal.claim(claim())
    commit(journal, Batch(steps=(step(),), end=DONE))
    assert journal._connection is not None
    row = journal._connection.execute("SELECT created, claimed, ended FROM run").fetchone()
    assert set(row) == {NOW.isoformat()}
