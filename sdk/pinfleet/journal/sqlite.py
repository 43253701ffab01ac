"""The journal on SQLite: one file on a local disk, shared by the pods of one node.

WAL and synchronous=FULL: what is committed survives a power cut. SQLite has no statement that fences and inserts at
once, so each call is one BEGIN IMMEDIATE transaction that updates the run's row first and gives up if that row says no.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from pinfleet.errors import JournalRefused, JournalUnavailable
from pinfleet.journal import migrating, reading, sqlite_rows, sqlite_schema
from pinfleet.journal.columns import Mapper
from pinfleet.journal.filesystem import require_local
from pinfleet.journal.interface import (
    Batch,
    Claim,
    ClaimResult,
    Codec,
    Commit,
    CommitResult,
    History,
    Migration,
    Owner,
    PlainCodec,
    Records,
    RunRow,
)
from pinfleet.journal.verdicts import judge_claim, why_not
from pinfleet.rules import ALL, Rules

_REFUSED: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
"""No waiting helps here; a disk that is read-only, full or not mounted yet may be mended under a waiting pod."""

_T = TypeVar("_T")


class SqliteJournal:
    """A journal in one file.

    Args:
        path: The database file, on a local file system.
        busy_seconds: How long a call waits for another process's transaction.
        codec: Seals values.
        rules: All of them, but in a negative control.
    """

    def __init__(
        self, path: Path, *, busy_seconds: float = 5.0, codec: Codec | None = None, rules: Rules = ALL
    ) -> None:
        self._path = path
        self._busy_seconds = busy_seconds
        self._mapper = Mapper(codec or PlainCodec())
        self._rules = rules
        self._connection: sqlite3.Connection | None = None

    def claim(self, claim: Claim) -> ClaimResult:
        """Take a run; see ``Journal``."""
        return self._transaction(lambda db: self._claim(db, claim))

    def load(self, run: str) -> History:
        """Read what the run did; see ``Journal``."""
        return self._transaction(lambda db: reading.history(_asking(db), self._mapper, run), begin="BEGIN")

    def load_whole(self, run: str) -> Records:
        """Read all that the run ever did; see ``Journal``."""
        return self._transaction(lambda db: reading.records(_asking(db), self._mapper, run), begin="BEGIN")

    def find(self, words: str = "") -> tuple[RunRow, ...]:
        """Return runs; see ``Journal``."""
        return self._transaction(lambda db: reading.find(_asking(db), self._mapper, words), begin="BEGIN")

    def prune(self, before: datetime, limit: int) -> int:
        """Delete what ended runs did; see ``Journal``."""
        return self._transaction(lambda db: reading.prune(_asking(db), before, limit))

    def erase(self, run: str) -> bool:
        """Delete what a run holds; see ``Journal``. Its text is overwritten in the file too."""

        def erase(db: sqlite3.Connection) -> bool:
            db.execute("PRAGMA secure_delete = ON")
            return reading.erase(_asking(db), self._mapper, run)

        is_erased = self._transaction(erase)
        self._transaction(lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall(), begin=None)
        return is_erased

    def commit(self, owner: Owner, batch: Batch, *, max_steps: int, now: datetime) -> CommitResult:
        """Commit a batch; see ``Journal``."""
        asked = Commit(owner, batch, max_steps, now)
        try:
            return self._transaction(lambda db: self._commit(db, asked))
        except _NotCommitted:
            return self._transaction(lambda db: self._why_not(db, asked), begin="BEGIN")

    def commit_all(self, commits: Sequence[Commit]) -> list[CommitResult]:
        """Commit batches of several runs; see ``Journal``. Only if one is refused does each get a savepoint."""
        try:
            return self._transaction(lambda db: [self._commit(db, asked) for asked in commits])
        except _NotCommitted:
            pass
        found = self._transaction(lambda db: [self._commit_apart(db, asked) for asked in commits])
        if None not in found:
            return [result for result in found if result is not None]
        pairs = list(zip(commits, found, strict=True))
        return self._transaction(lambda db: [r or self._why_not(db, asked) for asked, r in pairs], begin="BEGIN")

    def migrate(self, owner: Owner, migration: Migration) -> CommitResult:
        """Take a run to another schema; see ``Journal``."""
        return self._transaction(lambda db: migrating.migrate(_asking(db), self._mapper, owner, migration))

    def check(self) -> None:
        """Raise unless the database answers and takes a write."""
        self._transaction(lambda db: db.execute("UPDATE meta SET value = value WHERE key = 'minor'"))

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- claim ---------------------------------------------------------------------------------------------------

    def _claim(self, db: sqlite3.Connection, claim: Claim) -> ClaimResult:
        before = reading.state_of(_asking(db), self._mapper, claim.run)
        won = None
        if before is None or before.end is None or not self._rules.terminal_answer:
            won = db.execute(
                """INSERT INTO run (uid, name, version, epoch, boot, pod, schema, state, codec, created, claimed)
                   VALUES (:run, :name, :version, :epoch, :boot, :pod, :schema, 'running', :codec, :now, :now)
                   ON CONFLICT (uid) DO UPDATE SET epoch = :epoch, boot = :boot, pod = :pod, version = :version,
                       state = 'running', codec = :codec, claimed = :now, outcome = NULL
                   WHERE run.epoch < :epoch RETURNING 1""",
                {
                    "run": claim.run, "name": claim.name, "version": claim.version, "epoch": claim.epoch,
                    "boot": claim.boot, "pod": claim.pod, "schema": claim.schema, "codec": self._mapper.codec.name,
                    "now": claim.now.isoformat(),
                },
            ).fetchone()  # fmt: skip
        return judge_claim(claim, before, won=won is not None, rules=self._rules)

    # -- commit --------------------------------------------------------------------------------------------------

    def _commit_apart(self, db: sqlite3.Connection, asked: Commit) -> CommitResult | None:
        """Commit a batch inside a transaction of several; None, and nothing of it written, if it is refused."""
        db.execute("SAVEPOINT apart")
        try:
            return self._commit(db, asked)
        except _NotCommitted:
            db.execute("ROLLBACK TO apart")
            return None
        finally:
            db.execute("RELEASE apart")

    def _commit(self, db: sqlite3.Connection, asked: Commit) -> CommitResult:
        owner, batch, end = asked.owner, asked.batch, asked.batch.end
        fence = "AND epoch = :epoch AND state = 'running'" if self._rules.fence else ""
        row = db.execute(
            f"""UPDATE run SET steps = steps + :counted, tokens = tokens + :tokens, segment = segment + :restarts,
                    state = :state, outcome = :outcome, ended = :ended
                WHERE uid = :run {fence} AND (:counted = 0 OR steps + :counted <= :max)
                RETURNING steps, tokens, epoch, segment - :restarts AS segment, version, pod""",  # noqa: S608 - the fence is one of two constants
            {
                "run": owner.run, "epoch": owner.epoch, "counted": batch.counted, "max": asked.max_steps,
                "tokens": batch.tokens, "restarts": batch.restart is not None,
                "state": end.state if end else "parked" if batch.parks else "running",
                "outcome": self._mapper.seal(end.outcome) if end else None,
                "ended": asked.now.isoformat() if end else None,
            },
        ).fetchone()  # fmt: skip
        if row is None:
            raise _NotCommitted
        try:
            replaces = not (self._rules.replay and self._rules.fence)
            sqlite_rows.write(db, self._mapper, owner, batch, row, replaces=replaces)
        except sqlite3.IntegrityError:
            raise _NotCommitted from None
        return CommitResult("committed", row["epoch"], row["steps"], end, row["tokens"])

    def _why_not(self, db: sqlite3.Connection, asked: Commit) -> CommitResult:
        """Say why a batch was refused; it may be one whose COMMIT had no answer, and that is durable."""
        ask = _asking(db)
        recorded = reading.standing(ask, asked.owner.run, asked.batch.steps)
        run = reading.state_of(ask, self._mapper, asked.owner.run)
        return why_not(asked.owner, asked.batch, asked.max_steps, run, recorded)

    # -- connection ----------------------------------------------------------------------------------------------

    def _transaction(self, work: Callable[[sqlite3.Connection], _T], begin: str | None = "BEGIN IMMEDIATE") -> _T:
        with self._errors():
            db = self._connection or self._open()
            try:
                if begin is None:
                    return work(db)
                db.execute(begin)
                result = work(db)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            return result

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as err:
            self._drop()
            name = getattr(err, "sqlite_errorname", "") or ""
            said = f"cannot use the journal {self._path}: {err} ({name or type(err).__name__})"
            if name.startswith(_REFUSED):
                raise JournalRefused(said) from err
            raise JournalUnavailable(said) from err

    def _drop(self) -> None:
        """Forget a connection that failed; the next call opens the file anew."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _open(self) -> sqlite3.Connection:
        folder = self._path.parent
        if not folder.is_dir():
            raise JournalUnavailable(f"cannot open the journal {self._path}: no folder {folder}; is the claim mounted?")
        require_local(folder)
        db = sqlite3.connect(self._path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False)
        try:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            sqlite_schema.prepare(db, self._path)
        except BaseException:
            db.close()
            raise
        self._connection = db
        return db


class _NotCommitted(Exception):
    """The batch was refused; the transaction is rolled back and the reason is read after it."""


def _asking(db: sqlite3.Connection) -> reading.Ask:
    """Return what runs the shared SQL on a connection."""
    return lambda queries: [
        db.execute(text, [sqlite_rows.plain(value) for value in values]).fetchall() for text, values in queries
    ]
