"""The journal on SQLite: one file on a local disk, shared by the pods of one node.

WAL and synchronous=FULL: what is committed survives a power cut. SQLite has no statement that fences and inserts at
once, so each call is one BEGIN IMMEDIATE transaction that updates the run's row first and gives up if that row says no.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, TypeVar

from pinfleet.errors import JournalRefused, JournalUnavailable
from pinfleet.identity import StepKey
from pinfleet.journal.filesystem import require_local
from pinfleet.rules import ALL, Rules
from tests.unit.sdk.older import schema
from tests.unit.sdk.older.interface import (
    Batch,
    Claim,
    ClaimResult,
    Codec,
    CommitResult,
    End,
    History,
    Owner,
    PlainCodec,
    StepRow,
    WaitRow,
)

INLINE_LIMIT: Final = 16_384
"""Larger results go to the blob table, so that reading a run's steps stays cheap."""

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
        self._codec: Codec = codec or PlainCodec()
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
        return self._transaction(lambda db: self._load(db, run), begin="BEGIN")

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
        before = db.execute("SELECT epoch, boot, state, steps, outcome FROM run WHERE uid = ?", (claim.run,)).fetchone()
        if before is not None and before["outcome"] is not None and self._rules.terminal_answer:
            return ClaimResult("ended", before["epoch"], before["steps"], self._end(before))
        won = db.execute(
            """INSERT INTO run (uid, name, version, epoch, boot, pod, schema, state, codec, created, claimed)
               VALUES (:run, :name, :version, :epoch, :boot, :pod, :schema, 'running', :codec, :now, :now)
               ON CONFLICT (uid) DO UPDATE SET epoch = :epoch, boot = :boot, pod = :pod, version = :version,
                   schema = :schema, state = 'running', claimed = :now, outcome = NULL
               WHERE run.epoch < :epoch RETURNING steps""",
            {
                "run": claim.run, "name": claim.name, "version": claim.version, "epoch": claim.epoch,
                "boot": claim.boot, "pod": claim.pod, "schema": claim.schema, "codec": self._codec.name,
                "now": claim.now.isoformat(),
            },
        ).fetchone()  # fmt: skip
        if won is not None:
            is_ours = before is not None and before["boot"] == claim.boot and before["epoch"] == claim.held
            continues = is_ours and before["state"] == "running"
            return ClaimResult("claimed", claim.epoch, won["steps"], continues=continues)
        is_mine = before["epoch"] == claim.epoch and (before["boot"] == claim.boot or not self._rules.boot)
        if not is_mine:
            return ClaimResult("fenced", before["epoch"], before["steps"])
        if before["state"] == "parked":
            return ClaimResult("parked", claim.epoch, before["steps"])
        return ClaimResult("claimed", claim.epoch, before["steps"], continues=claim.held == claim.epoch)

    # -- commit --------------------------------------------------------------------------------------------------

    def _commit(
        self, db: sqlite3.Connection, owner: Owner, batch: Batch, max_steps: int, now: datetime
    ) -> CommitResult:
        end = batch.end
        state = end.state if end else "parked" if batch.parks else "running"
        fence = "AND epoch = :epoch AND state = 'running'" if self._rules.fence else ""
        row = db.execute(
            f"""UPDATE run SET steps = steps + :counted, state = :state, outcome = :outcome, ended = :ended
                WHERE uid = :run {fence} AND (:counted = 0 OR steps + :counted <= :max)
                RETURNING steps, epoch, segment, version, pod""",
            {
                "run": owner.run, "epoch": owner.epoch, "counted": batch.counted, "max": max_steps, "state": state,
                "outcome": self._codec.seal(end.outcome) if end else None, "ended": now.isoformat() if end else None,
            },
        ).fetchone()  # fmt: skip
        if row is None:
            raise _NotCommitted
        try:
            for step in batch.steps:
                self._insert_step(db, owner, step, row)
        except sqlite3.IntegrityError:
            raise _NotCommitted from None
        for wait in batch.waits:
            self._upsert_wait(db, owner, wait, row["segment"])
        return CommitResult("committed", row["epoch"], row["steps"], end)

    def _insert_step(self, db: sqlite3.Connection, owner: Owner, step: StepRow, run: sqlite3.Row) -> None:
        result: bytes | None = self._codec.seal(step.result)
        digest = None
        if result is not None and len(result) > INLINE_LIMIT:
            digest = hashlib.sha256(result).hexdigest()
            db.execute("INSERT OR IGNORE INTO blob (run, hash, data) VALUES (?, ?, ?)", (owner.run, digest, result))
            result = None
        verb = "INSERT" if self._rules.replay and self._rules.fence else "INSERT OR REPLACE"
        db.execute(
            f"""{verb} INTO step (run, scope, name, n, segment, kind, status, arguments, result, blob, manifest,
                epoch, attempt, version, pod, codec, begun, committed)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
            (
                owner.run, *step.key, run["segment"], step.kind, step.status, self._codec.seal(step.arguments), result,
                digest, step.manifest, owner.epoch, step.attempt, run["version"], run["pod"], self._codec.name,
                step.begun.isoformat(), step.committed.isoformat(),
            ),
        )  # fmt: skip

    def _upsert_wait(self, db: sqlite3.Connection, owner: Owner, wait: WaitRow, segment: int) -> None:
        answer = self._codec.seal(wait.answer) if wait.answer is not None else None
        db.execute(
            """INSERT INTO wait (run, scope, name, n, segment, kind, since, until, answer, answered, epoch, codec)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
               ON CONFLICT (run, scope, name, n) DO UPDATE SET answer = excluded.answer, answered = excluded.answered
               WHERE wait.answer IS NULL""",
            (
                owner.run, *wait.key, segment, wait.kind, wait.since.isoformat(), _text(wait.until), answer,
                _text(wait.answered), owner.epoch, self._codec.name,
            ),
        )  # fmt: skip

    def _why_not(self, db: sqlite3.Connection, owner: Owner, batch: Batch, max_steps: int) -> CommitResult:
        """Say why a batch was refused; it may be one whose COMMIT had no answer, and that is durable."""
        run = db.execute("SELECT epoch, state, steps, outcome FROM run WHERE uid = ?", (owner.run,)).fetchone()
        if run is None:
            return CommitResult("fenced", 0, 0)
        end = self._end(run) if run["outcome"] is not None else None
        rows = [
            db.execute(
                "SELECT epoch, attempt FROM step WHERE run = ? AND scope = ? AND name = ? AND n = ?",
                (owner.run, *step.key),
            ).fetchone()
            for step in batch.steps
        ]
        ours = [
            row is not None and tuple(row) == (owner.epoch, s.attempt) for row, s in zip(rows, batch.steps, strict=True)
        ]
        is_there = all(ours) if batch.steps else False
        if batch.end is not None:
            is_there = run["epoch"] == owner.epoch and end == batch.end
        elif batch.parks:
            is_there = run["epoch"] == owner.epoch and run["state"] == "parked"
        if is_there:
            return CommitResult("committed", run["epoch"], run["steps"], end)
        if run["epoch"] != owner.epoch or run["state"] != "running":
            return CommitResult("fenced", run["epoch"], run["steps"], end)
        if any(row is not None for row in rows):
            return CommitResult("taken", run["epoch"], run["steps"])
        return CommitResult(
            "limit" if run["steps"] + batch.counted > max_steps else "fenced", run["epoch"], run["steps"]
        )

    # -- load ----------------------------------------------------------------------------------------------------

    def _load(self, db: sqlite3.Connection, run: str) -> History:
        steps = db.execute(
            """SELECT step.*, blob.data FROM step LEFT JOIN blob ON blob.run = step.run AND blob.hash = step.blob
               WHERE step.run = ? AND segment = (SELECT segment FROM run WHERE uid = ?)""",
            (run, run),
        )
        waits = db.execute("SELECT * FROM wait WHERE run = ?", (run,))
        loaded = [self._step(row) for row in steps]
        return History({row.key: row for row in loaded}, {row.key: row for row in map(self._wait, waits)})

    def _step(self, row: sqlite3.Row) -> StepRow:
        result = row["result"] if row["result"] is not None else row["data"]
        return StepRow(
            key=_key(row), kind=row["kind"], status=row["status"], arguments=self._codec.open(row["arguments"]),
            result=self._codec.open(result), manifest=row["manifest"], attempt=row["attempt"], version=row["version"],
            pod=row["pod"], epoch=row["epoch"], begun=_time(row["begun"]), committed=_time(row["committed"]),
        )  # fmt: skip

    def _wait(self, row: sqlite3.Row) -> WaitRow:
        return WaitRow(
            key=_key(row), kind=row["kind"], since=_time(row["since"]),
            until=_time(row["until"]) if row["until"] else None,
            answer=self._codec.open(row["answer"]) if row["answer"] is not None else None,
            answered=_time(row["answered"]) if row["answered"] else None,
        )  # fmt: skip

    def _end(self, row: sqlite3.Row) -> End:
        return End(row["state"], self._codec.open(row["outcome"]))

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
            schema.prepare(db, self._path)
        except BaseException:
            db.close()
            raise
        self._connection = db
        return db


class _NotCommitted(Exception):
    """The batch was refused; the transaction is rolled back and the reason is read after it."""


def _key(row: sqlite3.Row) -> StepKey:
    return StepKey(row["scope"], row["name"], row["n"])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
