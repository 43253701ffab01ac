"""The SQL of rows on PostgreSQL: the one statement that fences and records, and what a run's history reads.

A batch is one statement, so it is whole, and one round trip, so it is quick. Its text depends on how many rows of
which table the batch has, never on their values.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from pinfleet.journal.columns import Columns, Mapper
from pinfleet.journal.interface import Batch, Commit


@dataclass(frozen=True)
class _Table:
    """How a batch's rows get into one table."""

    name: str
    columns: dict[str, str]  # from the row, with the type
    own: tuple[str, ...]  # from the run's row, which is ``f``
    conflict: str = ""
    instead: dict[str, str] = field(default_factory=dict)  # what is selected for a column, if not the row's value


_ID: Final = {"scope": "text", "name": "text", "n": "bigint"}
_TIME: Final = "timestamptz"
_BY: Final = ("run", "segment", "epoch", "version", "pod")

STEP: Final = _Table(
    "step",
    _ID | {"kind": "text", "status": "text", "arguments": "bytea", "result": "bytea", "blob": "text",
           "manifest": "text", "attempt": "bigint", "codec": "text", "begun": _TIME, "committed": _TIME},
    _BY,
)  # fmt: skip
_OTHERS: Final = (
    _Table("blob", {"hash": "text", "data": "bytea"}, ("run",), "ON CONFLICT DO NOTHING"),
    _Table(
        "call",
        _ID | {"attempt": "bigint", "key": "text", "policy": "text", "first_sent": _TIME, "sent": _TIME,
               "arguments": "bytea", "codec": "text", "begun": _TIME},
        _BY,
        "ON CONFLICT (run, scope, name, n, attempt) DO UPDATE SET sent = excluded.sent WHERE call.sent IS NULL",
        {"key": """coalesce((SELECT key FROM call AS c WHERE c.run = f.run AND c.scope = v.scope AND c.name = v.name
                   AND c.n = v.n ORDER BY c.attempt LIMIT 1), v.key)"""},
    ),
    _Table(
        "wait",
        _ID | {"kind": "text", "hash": "text", "shown": "bytea", "since": _TIME, "until": _TIME, "answer": "bytea",
               "answered": _TIME, "codec": "text"},
        ("run", "segment", "epoch"),
        """ON CONFLICT (run, scope, name, n) DO UPDATE SET answer = excluded.answer, answered = excluded.answered
           WHERE wait.answer IS NULL""",
    ),
    _Table(
        "inbox",
        {"id": "text", "number": "bigint", "body": "bytea", "received": _TIME, "taken_scope": "text",
         "taken_name": "text", "taken_n": "bigint", "taken_segment": "bigint", "codec": "text"},
        ("run",),
        """ON CONFLICT (run, id) DO UPDATE SET taken_scope = excluded.taken_scope, taken_name = excluded.taken_name,
           taken_n = excluded.taken_n, taken_segment = excluded.taken_segment WHERE inbox.taken_scope IS NULL""",
        {"taken_segment": "CASE WHEN v.taken_scope IS NOT NULL THEN f.segment END"},
    ),
    _Table(
        "decision",
        {"hash": "text", "decision": "text", "by": "text", "via": "text", "comment": "bytea", "at": _TIME,
         "codec": "text"},
        ("run",),
        "ON CONFLICT DO NOTHING",
    ),
    _Table(
        "kept",
        {"what": "text", "data": "bytea", "codec": "text"},
        ("run",),
        "ON CONFLICT (run, what) DO UPDATE SET data = excluded.data, codec = excluded.codec",
    ),
)  # fmt: skip
_REPLACING: Final = _Table(  # of negative controls: a step that stands is overwritten
    STEP.name, STEP.columns, STEP.own,
    "ON CONFLICT (run, scope, name, n) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in (*STEP.columns, "epoch") if column not in _ID),
)  # fmt: skip


@lru_cache(maxsize=256)
def _text(sizes: tuple[int, ...], *, fenced: bool, replaces: bool) -> str:
    """Return the statement for a batch with so many rows of each table."""
    parts = [
        f"""WITH f AS (UPDATE run SET steps = steps + %s, tokens = tokens + %s, segment = segment + %s, state = %s,
                outcome = %s::bytea, ended = %s::timestamptz
            WHERE uid = %s AND (%s = 0 OR steps + %s <= %s)
                {"AND epoch = %s AND state = 'running'" if fenced else "AND %s > 0"}
            RETURNING uid AS run, steps, tokens, epoch, segment - %s AS segment, version, pod)"""  # noqa: S608 - constants
    ]
    tables = (_REPLACING if replaces else STEP, *_OTHERS)
    parts += [_insert(table, size) for table, size in zip(tables, sizes, strict=True) if size]
    return ",\n".join(parts) + "\nSELECT steps, tokens, epoch FROM f"


def _insert(table: _Table, size: int) -> str:
    names = ", ".join(table.columns)
    row = "(" + ", ".join(f"%s::{kind}" for kind in table.columns.values()) + ")"
    chosen = ", ".join(table.instead.get(column, f"v.{column}") for column in table.columns)
    return f"""{table.name}_rows AS (INSERT INTO {table.name} ({names}, {", ".join(table.own)})
        SELECT {chosen}, {", ".join(f"f.{column}" for column in table.own)}
        FROM f, (VALUES {", ".join([row] * size)}) AS v ({names}) {table.conflict})"""  # noqa: S608 - constants


def statement(mapper: Mapper, asked: Commit, *, fenced: bool, replaces: bool) -> tuple[str, list[Any]]:
    """Return the statement that commits a batch, and its values; it gives no row if the batch is refused.

    Args:
        mapper: Seals values.
        asked: Who commits what.
        fenced: False only in negative controls.
        replaces: Whether a step that stands is overwritten: only in negative controls.
    """
    batch = asked.batch
    state = batch.end.state if batch.end else "parked" if batch.parks else "running"
    restarts, counted = int(batch.restart is not None), batch.counted
    outcome, ended = (mapper.seal(batch.end.outcome), asked.now) if batch.end else (None, None)
    values: list[Any] = [counted, batch.tokens, restarts, state, outcome, ended]
    values += [asked.owner.run, counted, counted, asked.max_steps, asked.owner.epoch, restarts]
    sizes = []
    for table, rows in zip((STEP, *_OTHERS), _rows(mapper, batch), strict=True):
        sizes.append(len(rows))
        for row in rows:
            values += [row.get(column) for column in table.columns]
    return _text(tuple(sizes), fenced=fenced, replaces=replaces), values


def _rows(mapper: Mapper, batch: Batch) -> tuple[list[Columns], ...]:
    """Return the rows for each table, in the tables' order."""
    steps, blobs = [], []
    for step in batch.steps:
        columns, large = mapper.step(step)
        steps.append(columns)
        if large is not None:
            blobs.append({"hash": columns["blob"], "data": large})
    kept = [
        {"what": what, "data": mapper.codec.seal(data), "codec": mapper.codec.name}
        for what, data in (("partial", batch.partial), ("state", batch.restart))
        if data is not None
    ]
    return (
        steps,
        blobs,
        _whole(map(mapper.call, batch.calls), "scope", "name", "n", "attempt"),
        _whole(map(mapper.wait, batch.waits), "scope", "name", "n"),
        _whole(map(mapper.message, batch.inbox), "id"),
        _whole(map(mapper.decision, batch.decisions), "hash"),
        kept,
    )


def _whole(rows: Iterable[Columns], *identity: str) -> list[Columns]:
    """Return one row for each identity: PostgreSQL refuses to update a row twice in one statement."""
    found: dict[tuple[Any, ...], Columns] = {}
    for row in rows:
        first = found.setdefault(tuple(row[column] for column in identity), row)
        first |= {column: value for column, value in row.items() if first[column] is None}
    return list(found.values())
