"""How a run gets from one schema to another in a journal: one transaction, the same SQL on both databases.

The run's row is updated first, which fences: whoever else wants the run waits, and then finds another epoch or schema.
"""

from typing import Final

from pinfleet.identity import StepKey
from pinfleet.journal import reading
from pinfleet.journal.columns import Mapper
from pinfleet.journal.interface import Batch, CommitResult, Migration, Owner, StepRow
from pinfleet.journal.verdicts import why_not

_FENCE: Final = """UPDATE run SET schema = ? WHERE uid = ? AND epoch = ? AND state = 'running' AND schema = ?
    RETURNING epoch, steps, tokens, version, pod, segment"""
_WHERE: Final = "WHERE run = ? AND scope = ? AND name = ? AND n = ?"
_STATE: Final = "state"
_PUT_ASIDE: Final = 0  # the segment of rows that no code reads


def migrate(ask: reading.Ask, mapper: Mapper, owner: Owner, migration: Migration) -> CommitResult:
    """Take a run to another schema.

    Args:
        ask: In a transaction, which the caller commits.
        mapper: Seals values.
        owner: Who has the run.
        migration: What is to be true of it then.
    """
    (won,) = ask([(_FENCE, (migration.to, owner.run, owner.epoch, migration.schema))])
    if not won:
        recorded = reading.standing(ask, owner.run, migration.ran)
        return why_not(owner, Batch(steps=migration.ran), 0, reading.state_of(ask, mapper, owner.run), recorded)
    run = won[0]
    queries = [_aside("step", owner, migration, key) for key in migration.replaced]
    for key in migration.dropped:
        queries += [_aside(table, owner, migration, key) for table in ("step", "call", "wait")]
    own = {"run": owner.run, "epoch": run["epoch"], "version": run["version"], "pod": run["pod"]}
    for row in migration.ran:
        queries += _inserts(mapper, row, own | {"segment": _PUT_ASIDE})
    for row in migration.steps:
        recorded_by = {"epoch": row.epoch, "version": row.version, "pod": row.pod} if row.epoch else {}
        queries += _inserts(mapper, row, own | recorded_by | {"segment": run["segment"]})
    if migration.state is not None:
        aside = f"{_STATE} {migration.aside(StepKey('', '', 0)).scope}"
        values = (owner.run, _STATE, mapper.codec.seal(migration.state), mapper.codec.name)
        queries += [
            ("UPDATE kept SET what = ? WHERE run = ? AND what = ?", (aside, owner.run, _STATE)),
            ("INSERT INTO kept (run, what, data, codec) VALUES (?, ?, ?, ?)", values),
        ]
    ask(queries)
    return CommitResult("committed", run["epoch"], run["steps"], None, run["tokens"])


def _aside(table: str, owner: Owner, migration: Migration, key: StepKey) -> reading.Query:
    text = f"UPDATE {table} SET scope = ?, segment = ? {_WHERE}"  # noqa: S608 - constants
    return text, (migration.aside(key).scope, _PUT_ASIDE, owner.run, *key)


def _inserts(mapper: Mapper, row: StepRow, own: dict[str, object]) -> list[reading.Query]:
    columns, large = mapper.step(row)
    columns |= own
    queries: list[reading.Query] = []
    if large is not None:
        blob = (own["run"], columns["blob"], large)
        queries.append(("INSERT INTO blob (run, hash, data) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", blob))
    marks = ", ".join("?" * len(columns))
    queries.append((f"INSERT INTO step ({', '.join(columns)}) VALUES ({marks})", tuple(columns.values())))  # noqa: S608 - constants
    return queries
