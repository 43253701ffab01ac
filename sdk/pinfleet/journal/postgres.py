"""The journal on PostgreSQL: one schema per fleet, shared by all of its pods.

A batch is one statement that fences and records (``postgres_rows``), committed by itself: one round trip. A call that
has no answer in time drops its connection; the next one reads the URL again, so a rotated password or a new primary is
found. Everything but a newer major is unavailable, not refused: who mends the database should not have to mend pods
too.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg import errors
from psycopg.rows import DictRow, dict_row
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper

from pinfleet.errors import JournalUnavailable, NotStorable
from pinfleet.journal import migrating, postgres_rows, postgres_schema, reading
from pinfleet.journal.columns import Mapper, Record
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

_SESSION: Final = """
    SELECT set_config('statement_timeout', %(milliseconds)s, false),
        set_config('idle_in_transaction_session_timeout', %(milliseconds)s, false),
        set_config('plan_cache_mode', 'force_generic_plan', false), set_config('enable_seqscan', 'off', false),
        set_config('enable_hashjoin', 'off', false), set_config('enable_mergejoin', 'off', false),
        set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
            ELSE current_setting('synchronous_commit') END, false)"""
"""Every statement of ours looks rows up by their key: one plan, made once, and not to scan tables while they are small.
A pod that is stopped inside a transaction must not keep its runs' rows from who takes the runs over. A server that is
set to lose its last commits in a crash is asked not to."""

_CLAIM_NEW: Final = """
    INSERT INTO run (uid, name, version, epoch, boot, pod, schema, state, codec, created, claimed)
    VALUES (%(run)s, %(name)s, %(version)s, %(epoch)s, %(boot)s, %(pod)s, %(schema)s, 'running', %(codec)s, %(now)s,
        %(now)s)
    ON CONFLICT (uid) DO NOTHING RETURNING 1"""
_CLAIM_KNOWN: Final = """
    WITH before AS (SELECT * FROM run WHERE uid = %(run)s FOR UPDATE),
    won AS (UPDATE run SET epoch = %(epoch)s, boot = %(boot)s, pod = %(pod)s, version = %(version)s,
            state = 'running', codec = %(codec)s, claimed = %(now)s, outcome = NULL
        FROM before WHERE run.uid = before.uid AND before.epoch < %(epoch)s
            AND (before.outcome IS NULL OR %(reopens)s) RETURNING 1)
    SELECT before.*, (SELECT count(*) FROM won) AS won, kept.data AS partial, kept.codec AS partial_codec
    FROM before LEFT JOIN kept ON kept.run = before.uid AND kept.what = 'partial'"""

_BEHIND_IT: Final = "UPDATE run SET steps = steps WHERE uid = %s"
"""A row that can be read may not be on the standby yet, if what wrote it was cut off while it waited for that. A commit
that comes after it waits for both."""


class _Bounded(psycopg.Connection[DictRow]):
    """A connection whose calls end: a server that was stopped keeps its sockets open and says nothing."""

    answer_seconds = 10.0

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server, at most ``answer_seconds``."""
        return super().wait(gen, interval, self.answer_seconds if timeout is None else timeout)


class PostgresJournal:
    """A journal in one schema.

    Args:
        url: Called for each new connection.
        answer_seconds: How long a call waits for the server.
        codec: Seals values.
        rules: All of them, but in a negative control.
    """

    def __init__(
        self, url: Callable[[], str], *, answer_seconds: float = 10.0, codec: Codec | None = None, rules: Rules = ALL
    ) -> None:
        self._url = url
        self._answer_seconds = answer_seconds
        self._mapper = Mapper(codec or PlainCodec())
        self._rules = rules
        self._connection: _Bounded | None = None

    def claim(self, claim: Claim) -> ClaimResult:
        """Take a run; see ``Journal``."""
        asked = {
            "run": claim.run, "name": claim.name, "version": claim.version, "epoch": claim.epoch, "boot": claim.boot,
            "pod": claim.pod, "schema": claim.schema, "codec": self._mapper.codec.name, "now": claim.now,
            "reopens": not self._rules.terminal_answer,
        }  # fmt: skip
        with self._connected() as db:
            if db.execute(_CLAIM_NEW, asked).fetchone() is not None:
                return judge_claim(claim, None, won=True, rules=self._rules)
            found = db.execute(_CLAIM_KNOWN, asked, prepare=False).fetchone()
        if found is None:
            raise JournalUnavailable(f"run {claim.run} was erased while it was claimed")
        before = self._mapper.run(found)
        return judge_claim(claim, before, won=found["won"] > 0, rules=self._rules)

    def load(self, run: str) -> History:
        """Read what the run did; see ``Journal``."""
        with self._connected() as db:
            return reading.history(_asking(db), self._mapper, run)

    def load_whole(self, run: str) -> Records:
        """Read all that the run ever did; see ``Journal``."""
        with self._connected() as db:
            return reading.records(_asking(db), self._mapper, run)

    def find(self, words: str = "") -> tuple[RunRow, ...]:
        """Return runs; see ``Journal``."""
        with self._connected() as db:
            return reading.find(_asking(db), self._mapper, words)

    def prune(self, before: datetime, limit: int) -> int:
        """Delete what ended runs did; see ``Journal``."""
        with self._connected() as db, db.transaction():
            return reading.prune(_asking(db), before, limit)

    def erase(self, run: str) -> bool:
        """Delete what a run holds; see ``Journal``."""
        with self._connected() as db, db.transaction():
            return reading.erase(_asking(db), self._mapper, run)

    def commit(self, owner: Owner, batch: Batch, *, max_steps: int, now: datetime) -> CommitResult:
        """Commit a batch; see ``Journal``."""
        asked = Commit(owner, batch, max_steps, now)
        with self._connected() as db:
            try:
                row = db.execute(*self._statement([(0, asked)])).fetchone()
            except errors.UniqueViolation:
                row = None
            return self._result(db, asked, row)

    def commit_all(self, commits: Sequence[Commit]) -> list[CommitResult]:
        """Commit batches of several runs; see ``Journal``. One round trip; a refused batch writes no row."""
        with self._connected() as db:
            parts = _apart(commits)
            try:
                with db.pipeline(), db.transaction() if len(parts) > 1 else nullcontext():
                    cursors = [db.execute(*self._statement(part)) for part in parts]
            except (errors.UniqueViolation, errors.DeadlockDetected):
                pass  # one of them spoils it for all: each by itself
            else:
                found = {row["i"]: row for cursor in cursors for row in cursor}
                return [self._result(db, asked, found.get(i)) for i, asked in enumerate(commits)]
        return [self.commit(c.owner, c.batch, max_steps=c.max_steps, now=c.now) for c in commits]

    def migrate(self, owner: Owner, migration: Migration) -> CommitResult:
        """Take a run to another schema; see ``Journal``."""
        with self._connected() as db, db.transaction():
            return migrating.migrate(_asking(db), self._mapper, owner, migration)

    def check(self) -> None:
        """Raise unless the database answers and takes writes."""
        with self._connected() as db:
            found = db.execute("SELECT current_setting('transaction_read_only') AS read_only").fetchone()
            if found is None or found["read_only"] != "off":
                self.close()  # a server that was demoted; the URL may lead to another
                raise JournalUnavailable("the journal's database is read-only")

    def close(self) -> None:
        """Let the connection go; the next call makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # -- inside --------------------------------------------------------------------------------------------------

    def _statement(self, commits: Sequence[tuple[int, Commit]]) -> tuple[Any, list[Any]]:
        fenced = self._rules.fence
        return postgres_rows.statement(
            self._mapper, commits, fenced=fenced, replaces=not (self._rules.replay and fenced)
        )  # fmt: skip

    def _result(self, db: _Bounded, asked: Commit, row: DictRow | None) -> CommitResult:
        if row is None:
            ask = _asking(db)
            recorded = reading.standing(ask, asked.owner.run, asked.batch.steps)
            run = reading.state_of(ask, self._mapper, asked.owner.run)
            result = why_not(asked.owner, asked.batch, asked.max_steps, run, recorded)
            if result.status == "committed":
                db.execute(_BEHIND_IT, (asked.owner.run,))
            return result
        return CommitResult("committed", row["epoch"], row["steps"], asked.batch.end, row["tokens"])

    @contextmanager
    def _connected(self) -> Iterator[_Bounded]:
        try:
            yield self._connection or self._open()
        except errors.DataError as err:
            raise NotStorable("journal", "row", str(err)) from err
        except errors.Error as err:
            self.close()
            state = f" ({err.sqlstate})" if err.sqlstate else ""
            said = " ".join(str(err).split())
            raise JournalUnavailable(f"cannot use the journal on PostgreSQL: {said}{state}") from err

    def _open(self) -> _Bounded:
        timeout = max(2, int(self._answer_seconds))
        db: _Bounded = _Bounded.connect(
            self._url(), autocommit=True, prepare_threshold=0, connect_timeout=timeout, application_name="pinfleet",
            row_factory=dict_row, cursor_factory=psycopg.Cursor,
        )  # fmt: skip
        try:
            db.answer_seconds = self._answer_seconds
            for dumper in (Int8Dumper, Int8BinaryDumper):  # one type for all sizes: one prepared statement
                db.adapters.register_dumper(int, dumper)
            db.execute(_SESSION, {"milliseconds": str(int(1000 * self._answer_seconds))})
            try:
                meta = {row["key"]: row["value"] for row in db.execute("SELECT key, value FROM meta").fetchall()}
            except errors.UndefinedTable as err:
                said = "the journal's schema is not prepared, or not the role's: pinfleet-agent db prepare"
                raise JournalUnavailable(said) from err
            postgres_schema.require_major(meta, f"on {db.info.host}, database {db.info.dbname}")
        except BaseException:
            db.close()
            raise
        self._connection = db
        return db


def _apart(commits: Sequence[Commit]) -> list[list[tuple[int, Commit]]]:
    """Return commits, numbered, in parts that have each run once: one statement updates a row once."""
    parts: list[list[tuple[int, Commit]]] = []
    turns: Counter[str] = Counter()
    for i, asked in enumerate(commits):
        turn = turns[asked.owner.run]
        turns[asked.owner.run] += 1
        if turn == len(parts):
            parts.append([])
        parts[turn].append((i, asked))
    return parts


def _asking(db: _Bounded) -> reading.Ask:
    """Return what runs the shared SQL on a connection.

    It reads whole rows, which is not prepared: a plan made before a newer SDK added a column would be refused after.
    """

    def ask(queries: Sequence[reading.Query]) -> list[list[Record]]:
        with db.pipeline():
            cursors = [
                db.execute(text.replace("?", "%s"), values, binary=True, prepare=False) for text, values in queries
            ]
        return [[*cursor.fetchall()] if cursor.description else [] for cursor in cursors]

    return ask
