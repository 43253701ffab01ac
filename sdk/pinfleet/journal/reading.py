"""What is read from a journal, and how it is kept small; the same SQL on both databases, with ``?`` for values.

Nothing here is on the path of a step.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from pinfleet.journal.columns import Mapper, Record, Stored
from pinfleet.journal.interface import History, Records, RunRow, StepRow
from pinfleet.journal.verdicts import RunState

Query = tuple[str, Sequence[Any]]
Ask = Callable[[Sequence[Query]], list[list[Record]]]
"""Runs queries in one transaction, and on PostgreSQL in one round trip; gives the records of each."""

FOUND_LIMIT: Final = 1_000
TOMBSTONE: Final = timedelta(days=30)
"""That a run ended, and how, is kept so much longer than what it did: an offer of it must not run it again."""

_TABLES: Final = ("step", "call", "wait", "inbox", "decision", "kept", "blob")
_RUN: Final = """SELECT run.*, kept.data AS partial, kept.codec AS partial_codec
    FROM run LEFT JOIN kept ON kept.run = run.uid AND kept.what = 'partial'"""
_SEGMENT: Final = """SELECT segment, schema, kept.data AS state, kept.codec AS state_codec
    FROM run LEFT JOIN kept ON kept.run = run.uid AND kept.what = 'state' WHERE uid = ?"""
_STEPS: Final = """SELECT step.*, blob.data FROM step LEFT JOIN blob ON blob.run = step.run AND blob.hash = step.blob
    WHERE step.run = ?"""


def history(ask: Ask, mapper: Mapper, run: str) -> History:
    """Read the segment that a run is in."""
    (found,) = ask([(_SEGMENT, (run,))])
    if not found:
        return History()
    here = (run, found[0]["segment"])
    stored = Stored(
        *ask([
            (f"{_STEPS} AND segment = ?", here),
            ("SELECT * FROM call WHERE run = ? AND segment = ? ORDER BY attempt", here),
            ("SELECT * FROM wait WHERE run = ? AND segment = ?", here),
            ("""SELECT * FROM inbox WHERE run = ? AND (taken_segment IS NULL OR taken_segment = ?)
                ORDER BY number, id""", here),
            ("SELECT * FROM decision WHERE run = ?", (run,)),
        ])
    )  # fmt: skip
    return mapper.history(stored, found[0])


def records(ask: Ask, mapper: Mapper, run: str) -> Records:
    """Read all that a run ever did."""
    of_run = (run,)
    stored = Stored(
        *ask([
            (f"{_STEPS} ORDER BY segment, committed, scope, name, n", of_run),
            ("SELECT * FROM call WHERE run = ? ORDER BY begun, attempt", of_run),
            ("SELECT * FROM wait WHERE run = ? ORDER BY since, scope, name, n", of_run),
            ("SELECT * FROM inbox WHERE run = ? ORDER BY number, id", of_run),
            ("SELECT * FROM decision WHERE run = ? ORDER BY at, hash", of_run),
        ])
    )  # fmt: skip
    return mapper.records(stored)


def find(ask: Ask, mapper: Mapper, words: str) -> tuple[RunRow, ...]:
    """Return the runs of a uid or name, the newest first; of no words: the open ones."""
    where, values = ("uid = ? OR name = ?", (words, words)) if words else ("outcome IS NULL", ())
    text = f"SELECT * FROM run WHERE {where} ORDER BY created DESC, uid LIMIT {FOUND_LIMIT}"  # noqa: S608 - constants
    (found,) = ask([(text, values)])
    return tuple(mapper.run_row(record) for record in found)


def state_of(ask: Ask, mapper: Mapper, run: str) -> RunState | None:
    """Return a run's row, if it has one."""
    (found,) = ask([(f"{_RUN} WHERE uid = ?", (run,))])
    return mapper.run(found[0]) if found else None


def standing(ask: Ask, run: str, steps: Sequence[StepRow]) -> list[tuple[int, int] | None]:
    """Return epoch and attempt of the row that stands for each step."""
    text = "SELECT epoch, attempt FROM step WHERE run = ? AND scope = ? AND name = ? AND n = ?"
    found = ask([(text, (run, *step.key)) for step in steps])
    return [(rows[0]["epoch"], rows[0]["attempt"]) if rows else None for rows in found]


def prune(ask: Ask, before: datetime, limit: int) -> int:
    """Delete what runs did that ended before a time; return of how many runs.

    The run's own row stays for ``TOMBSTONE`` more.
    """
    (found,) = ask([("SELECT uid FROM run WHERE ended < ? AND pruned IS NULL ORDER BY ended LIMIT ?", (before, limit))])
    runs = [record["uid"] for record in found]
    if runs:
        marked = "UPDATE run SET pruned = ended" + _among("uid", runs)  # noqa: S608 - constants and marks
        ask([*_deletions(runs), (marked, runs)])
    (old,) = ask(
        [("SELECT uid FROM run WHERE pruned < ? ORDER BY pruned LIMIT ?", (before - TOMBSTONE, limit))]
    )  # fmt: skip
    gone = [record["uid"] for record in old]
    if gone:
        ask([("DELETE FROM run" + _among("uid", gone), gone)])  # noqa: S608 - constants and marks
    return len(runs)


def erase(ask: Ask, mapper: Mapper, run: str) -> bool:
    """Delete all that an ended run holds but the fact that it ended; return whether there is such a run."""
    (found,) = ask([("SELECT uid FROM run WHERE uid = ? AND outcome IS NOT NULL", (run,))])
    if not found:
        return False
    empty = (mapper.codec.seal(b"{}"), mapper.codec.name, run)
    blank = "UPDATE run SET name = '', outcome = ?, codec = ?, pruned = ended WHERE uid = ?"
    ask([*_deletions([run]), (blank, empty)])
    return True


def _deletions(runs: Sequence[str]) -> list[Query]:
    return [(f"DELETE FROM {table}" + _among("run", runs), runs) for table in _TABLES]  # noqa: S608 - constants


def _among(column: str, values: Sequence[str]) -> str:
    return f" WHERE {column} IN ({', '.join('?' * len(values))})"
