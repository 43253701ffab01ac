"""The SQL of a batch's rows on SQLite; called inside its transaction."""

import sqlite3
from datetime import datetime
from typing import Any, Final

from pinfleet.journal.columns import Columns, Mapper
from pinfleet.journal.interface import Batch, Owner

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
        db.execute(("INSERT OR REPLACE" if replaces else "INSERT") + _STEP, bound(columns | own))
    for call in batch.calls:
        db.execute(_CALL, bound(mapper.call(call) | own))
    for wait in batch.waits:
        db.execute(_WAIT, bound(mapper.wait(wait) | own))
    for message in batch.inbox:
        db.execute(_MESSAGE, bound(mapper.message(message) | own))
    for decision in batch.decisions:
        db.execute(_DECISION, bound(mapper.decision(decision) | own))
    for what, data in (("partial", batch.partial), ("state", batch.restart)):
        if data is not None:
            values = {"what": what, "data": mapper.codec.seal(data), "codec": mapper.codec.name}
            db.execute(_KEPT, values | own)


def bound(columns: Columns) -> dict[str, Any]:
    """Return columns as SQLite holds them."""
    return {key: value.isoformat() if isinstance(value, datetime) else value for key, value in columns.items()}


def plain(value: Any) -> Any:
    """Return a value as SQLite holds it: a time is text."""
    return value.isoformat() if isinstance(value, datetime) else value
