"""The SQL of rows on SQLite: inserts, upserts and what a run's history reads. Called inside a transaction."""

import sqlite3
from datetime import datetime
from typing import Any, Final

from pinfleet.journal.columns import Columns, Mapper, Stored
from pinfleet.journal.interface import Batch, History, Owner

_STEP: Final = """
    INTO step (run, scope, name, n, segment, kind, status, arguments, result, blob, manifest, epoch, attempt, version,
        pod, codec, begun, committed)
    VALUES (:run, :scope, :name, :n, :segment, :kind, :status, :arguments, :result, :blob, :manifest, :epoch, :attempt,
        :version, :pod, :codec, :begun, :committed)"""
_CALL: Final = """
    INSERT INTO call (run, scope, name, n, attempt, key, policy, first_sent, sent, segment, arguments, begun, epoch,
        version, pod, codec)
    VALUES (:run, :scope, :name, :n, :attempt, coalesce((SELECT key FROM call
        WHERE run = :run AND scope = :scope AND name = :name AND n = :n ORDER BY attempt LIMIT 1), :key),
        :policy, :first_sent, :sent, :segment, :arguments, :begun, :epoch, :version, :pod, :codec)
    ON CONFLICT (run, scope, name, n, attempt) DO UPDATE SET sent = excluded.sent WHERE call.sent IS NULL"""
_WAIT: Final = """
    INSERT INTO wait (run, scope, name, n, segment, kind, hash, shown, since, until, answer, answered, epoch, codec)
    VALUES (:run, :scope, :name, :n, :segment, :kind, :hash, :shown, :since, :until, :answer, :answered, :epoch, :codec)
    ON CONFLICT (run, scope, name, n) DO UPDATE SET answer = excluded.answer, answered = excluded.answered
        WHERE wait.answer IS NULL"""
_MESSAGE: Final = """
    INSERT INTO inbox (run, id, number, body, received, taken_scope, taken_name, taken_n, taken_segment, codec)
    VALUES (:run, :id, :number, :body, :received, :taken_scope, :taken_name, :taken_n,
        CASE WHEN :taken_scope IS NULL THEN NULL ELSE :segment END, :codec)
    ON CONFLICT (run, id) DO UPDATE SET taken_scope = excluded.taken_scope, taken_name = excluded.taken_name,
        taken_n = excluded.taken_n, taken_segment = excluded.taken_segment WHERE inbox.taken_scope IS NULL"""
_DECISION: Final = """
    INSERT INTO decision (run, hash, decision, by, via, comment, at, codec)
    VALUES (:run, :hash, :decision, :by, :via, :comment, :at, :codec) ON CONFLICT (run, hash) DO NOTHING"""
_KEPT: Final = """
    INSERT INTO kept (run, what, data, codec) VALUES (:run, :what, :data, :codec)
    ON CONFLICT (run, what) DO UPDATE SET data = excluded.data, codec = excluded.codec"""


def write(
    db: sqlite3.Connection, mapper: Mapper, owner: Owner, batch: Batch, run: sqlite3.Row, *, replaces: bool
) -> None:
    """Write a batch's rows for a run that is held.

    Args:
        db: In a transaction.
        mapper: Seals values.
        owner: Who commits.
        batch: What.
        run: Its row: segment, version, pod.
        replaces: Whether a step that stands is overwritten: only in negative controls.

    Raises:
        sqlite3.IntegrityError: A step of that identity stands.
    """
    own = {"run": owner.run, "epoch": owner.epoch} | {key: run[key] for key in ("segment", "version", "pod")}
    for step in batch.steps:
        columns, large = mapper.step(step)
        if large is not None:
            blob = (owner.run, columns["blob"], large)
            db.execute("INSERT OR IGNORE INTO blob (run, hash, data) VALUES (?, ?, ?)", blob)
        db.execute(("INSERT OR REPLACE" if replaces else "INSERT") + _STEP, _bound(columns | own))
    for call in batch.calls:
        db.execute(_CALL, _bound(mapper.call(call) | own))
    for wait in batch.waits:
        db.execute(_WAIT, _bound(mapper.wait(wait) | own))
    for message in batch.inbox:
        db.execute(_MESSAGE, _bound(mapper.message(message) | own))
    for decision in batch.decisions:
        db.execute(_DECISION, _bound(mapper.decision(decision) | own))
    for what, data in (("partial", batch.partial), ("state", batch.restart)):
        if data is not None:
            values = {"what": what, "data": mapper.codec.seal(data), "codec": mapper.codec.name}
            db.execute(_KEPT, values | own)


def history(db: sqlite3.Connection, mapper: Mapper, run: str) -> History:
    """Read the segment that a run is in."""
    found = db.execute("SELECT segment FROM run WHERE uid = ?", (run,)).fetchone()
    if found is None:
        return History()
    here = (run, found["segment"])
    stored = Stored(
        steps=db.execute(
            """SELECT step.*, blob.data FROM step LEFT JOIN blob ON blob.run = step.run AND blob.hash = step.blob
               WHERE step.run = ? AND segment = ?""", here),
        calls=db.execute("SELECT * FROM call WHERE run = ? AND segment = ? ORDER BY attempt", here),
        waits=db.execute("SELECT * FROM wait WHERE run = ? AND segment = ?", here),
        inbox=db.execute(
            "SELECT * FROM inbox WHERE run = ? AND coalesce(taken_segment, ?) = ?2 ORDER BY number, id", here),
        decisions=db.execute("SELECT * FROM decision WHERE run = ?", (run,)),
    )  # fmt: skip
    return mapper.history(stored, found["segment"], kept(db, run, "state"))


def kept(db: sqlite3.Connection, run: str, what: str) -> bytes | None:
    """Return what a run keeps beside its rows, sealed; None if it keeps nothing of that name."""
    row = db.execute("SELECT data FROM kept WHERE run = ? AND what = ?", (run, what)).fetchone()
    return None if row is None else row["data"]


def _bound(columns: Columns) -> dict[str, Any]:
    """Return columns as SQLite holds them: a time is text."""
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in columns.items()}
