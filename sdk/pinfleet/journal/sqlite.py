"""The journal on SQLite: one file on a local disk, shared by the pods of one node.

WAL and synchronous=FULL: what is committed survives a power cut. SQLite has no statement that fences and inserts at
once, so each call is one BEGIN IMMEDIATE transaction that updates the run's row first and gives up if that row says no.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from pinfleet.errors import JournalRefused, JournalUnavailable
from pinfleet.journal import sqlite_rows, sqlite_schema
from pinfleet.journal.columns import FIND, Mapper
from pinfleet.journal.filesystem import require_local
from pinfleet.journal.interface import (
    Batch,
    Claim,
    ClaimResult,
    Codec,
    CommitResult,
    History,
    Owner,
    PlainCodec,
    RunRow,
)
from pinfleet.journal.refusal import RunState, why_not
from pinfleet.rules import ALL, Rules

_REFUSED: Final = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_AUTH")
_T = TypeVar("_T")


class SqliteJournal:
    """A journal in one file.

    Args:
        path: The database file; its folder must exist and be on a local file system.
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
        if not path.parent.is_dir():
            raise JournalRefused(f"cannot open the journal {path}: its folder does not exist; is the claim mounted?")
        require_local(path.parent)

    def claim(self, claim: Claim) -> ClaimResult:
        """Take a run; see ``Journal``."""
        return self._transaction(lambda db: self._claim(db, claim))

    def load(self, run: str) -> History:
        """Read what the run did; see ``Journal``."""
        return self._transaction(lambda db: sqlite_rows.history(db, self._mapper, run), begin="BEGIN")

    def find(self, words: str = "") -> tuple[RunRow, ...]:
        """Find runs; see ``Journal``."""
        return self._transaction(
            lambda db: tuple(map(self._mapper.run, db.execute(FIND.format("?1"), (words,)))), begin="BEGIN"
        )

    def commit(self, owner: Owner, batch: Batch, *, max_steps: int, now: datetime) -> CommitResult:
        """Commit a batch; see ``Journal``."""
        try:
            return self._transaction(lambda db: self._commit(db, owner, batch, max_steps, now))
        except _NotCommitted:
            return self._transaction(lambda db: self._why_not(db, owner, batch, max_steps), begin="BEGIN")

    def check(self) -> None:
        """Raise unless the database answers."""
        self._transaction(lambda db: db.execute("SELECT value FROM meta WHERE key = 'major'").fetchone(), begin="BEGIN")

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # -- claim ---------------------------------------------------------------------------------------------------

    def _claim(self, db: sqlite3.Connection, claim: Claim) -> ClaimResult:
        before = db.execute("SELECT * FROM run WHERE uid = ?", (claim.run,)).fetchone()
        if before is not None and before["outcome"] is not None and self._rules.terminal_answer:
            return ClaimResult("ended", before["epoch"], before["steps"], self._mapper.end_of(before))
        won = db.execute(
            """INSERT INTO run (uid, name, version, epoch, boot, pod, schema, state, codec, created, claimed)
               VALUES (:run, :name, :version, :epoch, :boot, :pod, :schema, 'running', :codec, :now, :now)
               ON CONFLICT (uid) DO UPDATE SET epoch = :epoch, boot = :boot, pod = :pod, version = :version,
                   schema = :schema, state = 'running', claimed = :now, outcome = NULL
               WHERE run.epoch < :epoch RETURNING *""",
            {
                "run": claim.run, "name": claim.name, "version": claim.version, "epoch": claim.epoch,
                "boot": claim.boot, "pod": claim.pod, "schema": claim.schema, "codec": self._mapper.codec.name,
                "now": claim.now.isoformat(),
            },
        ).fetchone()  # fmt: skip
        if won is not None:
            is_ours = before is not None and before["boot"] == claim.boot and before["epoch"] == claim.held
            return self._claimed(db, won, continues=is_ours and before["state"] == "running")
        is_mine = before["epoch"] == claim.epoch and (before["boot"] == claim.boot or not self._rules.boot)
        if not is_mine:
            return ClaimResult("fenced", before["epoch"], before["steps"])
        if before["state"] == "parked":
            return ClaimResult("parked", claim.epoch, before["steps"])
        return self._claimed(db, before, continues=claim.held == claim.epoch)

    def _claimed(self, db: sqlite3.Connection, run: sqlite3.Row, *, continues: bool) -> ClaimResult:
        partial = self._mapper.open(sqlite_rows.kept(db, run["uid"], "partial"))
        return ClaimResult("claimed", run["epoch"], run["steps"], None, continues, run["tokens"], partial)

    # -- commit --------------------------------------------------------------------------------------------------

    def _commit(
        self, db: sqlite3.Connection, owner: Owner, batch: Batch, max_steps: int, now: datetime
    ) -> CommitResult:
        end = batch.end
        fence = "AND epoch = :epoch AND state = 'running'" if self._rules.fence else ""
        row = db.execute(
            f"""UPDATE run SET steps = steps + :counted, tokens = tokens + :tokens, segment = segment + :restarts,
                    state = :state, outcome = :outcome, ended = :ended
                WHERE uid = :run {fence} AND (:counted = 0 OR steps + :counted <= :max)
                RETURNING steps, tokens, epoch, segment - :restarts AS segment, version, pod""",  # noqa: S608 - the fence is one of two constants
            {
                "run": owner.run, "epoch": owner.epoch, "counted": batch.counted, "max": max_steps,
                "tokens": batch.tokens, "restarts": batch.restart is not None,
                "state": end.state if end else "parked" if batch.parks else "running",
                "outcome": self._mapper.seal(end.outcome) if end else None, "ended": now.isoformat() if end else None,
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

    def _why_not(self, db: sqlite3.Connection, owner: Owner, batch: Batch, max_steps: int) -> CommitResult:
        """Say why a batch was refused; it may be one whose COMMIT had no answer, and that is durable."""
        run = db.execute("SELECT * FROM run WHERE uid = ?", (owner.run,)).fetchone()
        if run is None:
            return CommitResult("fenced", 0, 0)
        rows = [
            db.execute(
                "SELECT epoch, attempt FROM step WHERE run = ? AND scope = ? AND name = ? AND n = ?",
                (owner.run, *step.key),
            ).fetchone()
            for step in batch.steps
        ]
        recorded = [None if row is None else (row["epoch"], row["attempt"]) for row in rows]
        partial = self._mapper.open(sqlite_rows.kept(db, owner.run, "partial"))
        found = RunState(run["epoch"], run["state"], run["steps"], run["tokens"], self._mapper.end_of(run), partial)
        return why_not(owner, batch, max_steps, found, recorded)

    # -- connection ----------------------------------------------------------------------------------------------

    def _transaction(self, work: Callable[[sqlite3.Connection], _T], begin: str = "BEGIN IMMEDIATE") -> _T:
        with self._errors():
            db = self._connection or self._open()
            try:
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
