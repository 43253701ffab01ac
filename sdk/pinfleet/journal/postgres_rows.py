"""The SQL of rows on PostgreSQL: the one statement that fences and records.

A batch is one statement, so it is whole, and one round trip, so it is quick. Batches of several runs are one statement
too: their rows come as arrays, one for each column, and belong to their batch by its number ``i``. The text depends on
which tables have rows, and in a single batch on how many, never on their values.
"""

from collections.abc import Iterable, Sequence
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
_ASKED: Final = {
    "uid": "text", "epoch": "bigint", "most": "bigint", "counted": "bigint", "tokens": "bigint", "restarts": "bigint",
    "state": "text", "outcome": "bytea", "ended": _TIME,
}  # fmt: skip
"""What a batch does to its run's row."""

_ARRAYS: Final = -1
"""A number of rows that is not part of the text."""

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
_NAMES: Final = tuple(tuple(columns) for columns in (_ASKED, STEP.columns, *(table.columns for table in _OTHERS)))
_REPLACING: Final = _Table(  # of negative controls: a step that stands is overwritten
    STEP.name, STEP.columns, STEP.own,
    "ON CONFLICT (run, scope, name, n) DO UPDATE SET "
    + ", ".join(f"{column} = excluded.{column}" for column in (*STEP.columns, "epoch") if column not in _ID),
)  # fmt: skip


@lru_cache(maxsize=256)
def _text(sizes: tuple[int, ...], *, fenced: bool, replaces: bool) -> str:
    """Return the statement for so many rows of each table, the batches' own first."""
    parts = [
        f"""WITH f AS (UPDATE run SET steps = run.steps + a.counted, tokens = run.tokens + a.tokens,
                segment = run.segment + a.restarts, state = a.state, outcome = a.outcome, ended = a.ended
            FROM {_source(_ASKED, sizes[0], "a")}
            WHERE run.uid = a.uid AND (a.counted = 0 OR run.steps + a.counted <= a.most)
                {"AND run.epoch = a.epoch AND run.state = 'running'" if fenced else ""}
            RETURNING a.i, run.uid AS run, run.steps, run.tokens, run.epoch, run.segment - a.restarts AS segment,
                run.version, run.pod)"""  # noqa: S608 - constants
    ]
    tables = (_REPLACING if replaces else STEP, *_OTHERS)
    parts += [_insert(table, size) for table, size in zip(tables, sizes[1:], strict=True) if size]
    return ",\n".join(parts) + "\nSELECT i, steps, tokens, epoch FROM f"


def _insert(table: _Table, size: int) -> str:
    chosen = ", ".join(table.instead.get(column, f"v.{column}") for column in table.columns)
    return f"""{table.name}_rows AS (INSERT INTO {table.name} ({", ".join((*table.columns, *table.own))})
        SELECT {chosen}, {", ".join(f"f.{column}" for column in table.own)}
        FROM f JOIN {_source(table.columns, size, "v")} ON v.i = f.i {table.conflict})"""  # noqa: S608 - constants


def _source(columns: dict[str, str], size: int, name: str) -> str:
    """Return rows that come with the statement, each with the number of its batch."""
    types = ("bigint", *columns.values())
    if size == _ARRAYS:
        rows = "unnest(" + ", ".join(f"%b::{kind}[]" for kind in types) + ")"
    else:
        rows = "(VALUES " + ", ".join(["(" + ", ".join(f"%s::{kind}" for kind in types) + ")"] * size) + ")"
    return f"{rows} AS {name} (i, {', '.join(columns)})"


def statement(
    mapper: Mapper, commits: Sequence[tuple[int, Commit]], *, fenced: bool, replaces: bool
) -> tuple[str, list[Any]]:
    """Return the statement that commits batches, and its values; it gives no row for a batch that is refused.

    Args:
        mapper: Seals values.
        commits: Who commits what, each of another run, by their numbers.
        fenced: False only in negative controls.
        replaces: Whether a step that stands is overwritten: only in negative controls.
    """
    is_single, values, sizes = len(commits) == 1, list[Any](), list[int]()
    batches = [(i, (_asked(mapper, asked), *_rows(mapper, asked.batch))) for i, asked in commits]
    for table, names in enumerate(_NAMES):
        rows = [(i, row) for i, tables in batches for row in tables[table]]
        sizes.append(len(rows) if is_single else _ARRAYS if rows else 0)
        if is_single:
            for i, row in rows:
                values += (i, *map(row.get, names))
        elif rows:
            values += ([i for i, _ in rows], *([row.get(name) for _, row in rows] for name in names))
    return _text(tuple(sizes), fenced=fenced, replaces=replaces), values


def _asked(mapper: Mapper, asked: Commit) -> list[Columns]:
    batch, end = asked.batch, asked.batch.end
    return [{
        "uid": asked.owner.run, "epoch": asked.owner.epoch, "most": asked.max_steps, "counted": batch.counted,
        "tokens": batch.tokens, "restarts": int(batch.restart is not None),
        "state": end.state if end else "parked" if batch.parks else "running",
        "outcome": mapper.seal(end.outcome) if end else None, "ended": asked.now if end else None,
    }]  # fmt: skip


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
