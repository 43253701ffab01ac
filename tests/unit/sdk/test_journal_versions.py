"""SDKs of several minors on one database: a newer one only adds, and older pods go on with the runs that they have.

``older/`` is the journal of minor 1 as it was released, code and all; ``columns.json`` holds the tables of earlier
minors. When the schema grows, the tables of the minor before are added there and nothing is taken out.
"""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pinfleet.identity import StepKey
from pinfleet.journal import postgres_schema
from pinfleet.journal.interface import Batch, Commit, Owner
from pinfleet.journal.sqlite import SqliteJournal
from tests.unit.sdk.fleets import Fleet
from tests.unit.sdk.journal_contract import DONE, NOW, call, claim, commit, message, step, wait
from tests.unit.sdk.older import interface as older
from tests.unit.sdk.older.sqlite import SqliteJournal as OlderJournal

EVERYTHING = Batch(steps=(step(),), waits=(wait(),), calls=(call(),), inbox=(message(),), partial=b"1")
FROZEN = Path(__file__).parent / "older" / "columns.json"
Columns = dict[str, list[Any]]  # table.column -> type, whether it takes NULL, whether it has a default


def older_claim(epoch: int) -> older.Claim:
    """Return a claim by a pod of the older SDK."""
    return older.Claim(
        run="r1", name="run", epoch=epoch, boot="old", pod="pod-old", version="v1", schema=1, now=NOW
    )  # fmt: skip


def older_step(n: int) -> older.StepRow:
    """Return a step that the older SDK commits."""
    return older.StepRow(
        key=StepKey("", "pay", n), kind="step", status="ok", arguments=b"{}", result=b"1", manifest="m", attempt=1,
        begun=NOW, committed=NOW,
    )  # fmt: skip


def older_commit(journal: OlderJournal, epoch: int, batch: older.Batch, run: str = "r1") -> older.CommitResult:
    """Commit as the older SDK."""
    return journal.commit(older.Owner(run, epoch), batch, max_steps=100, now=NOW)


@pytest.mark.parametrize("is_newer_first", [True, False])
def test_older_and_newer_pods_on_one_database(tmp_path: Path, *, is_newer_first: bool) -> None:
    """Whoever made the database: each takes runs over from the other, and reads what the other recorded."""
    old, new = OlderJournal(tmp_path / "journal.db"), SqliteJournal(tmp_path / "journal.db")
    for journal in (new, old) if is_newer_first else (old, new):
        journal.check()
    old.claim(older_claim(1))
    assert older_commit(old, 1, older.Batch(steps=(older_step(1),))).steps == 1
    assert new.claim(claim(2)).steps == 1
    assert older_commit(old, 1, older.Batch(steps=(older_step(2),))).status == "fenced"
    rows = Batch(steps=(step(2),), waits=(wait(),), calls=(call(),), inbox=(message(),), tokens=5, partial=b"1")
    assert commit(new, rows, epoch=2).steps == 2
    assert old.claim(older_claim(3)).steps == 2
    assert set(old.load("r1").steps) == {step(1).key, step(2).key}
    assert older_commit(old, 3, older.Batch(steps=(older_step(3),), end=older.End("succeeded", b"{}"))).steps == 3
    assert new.claim(claim(4)).status == "ended"
    assert len(new.load_whole("r1").steps) == 3
    old.close()
    new.close()


def test_older_pod_whose_connection_is_open_while_tables_grow(tmp_path: Path) -> None:
    """A pod of the older SDK that is in the middle of a run goes on without noticing."""
    old = OlderJournal(tmp_path / "journal.db")
    old.claim(older_claim(1))
    older_commit(old, 1, older.Batch(steps=(older_step(1),)))
    new = SqliteJournal(tmp_path / "journal.db")
    new.claim(claim(1, run="r2"))
    asked = [Commit(Owner("r2", 1), Batch(steps=(replace(step(n), status="unknown"),)), 9, NOW) for n in (1, 2)]
    new.commit_all(asked)
    assert older_commit(old, 1, older.Batch(steps=(older_step(2),))).steps == 2
    commit(new, Batch(end=DONE), run="r2")
    assert new.prune(NOW, 9) == 0
    assert len(old.load("r1").steps) == 2
    old.close()
    new.close()


def test_pods_whose_connections_are_open_while_tables_grow_on_postgres(fleet: Fleet) -> None:
    """What a newer SDK's `db prepare` adds disturbs no pod of this one, in the middle of a run or at its next claim."""
    journal, both = fleet.journal(), [Commit(Owner(run, 1), Batch(steps=(step(2),)), 9, NOW) for run in ("r1", "r2")]
    for run in ("r1", "r2"):
        journal.claim(claim(1, run=run))
        commit(journal, EVERYTHING, run=run)
    journal.load("r1")
    journal.load_whole("r1")
    with fleet.server.connect() as db:
        db.execute(f"SET ROLE {fleet.roles.owner}; SET search_path = {fleet.roles.schema}")
        for (table,) in db.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").fetchall():
            db.execute(f"ALTER TABLE {table} ADD COLUMN newer text NOT NULL DEFAULT 'x', ADD COLUMN newest bigint")
        db.execute("CREATE TABLE newer (run text PRIMARY KEY); UPDATE meta SET value = '99' WHERE key = 'minor'")
    assert commit(journal, Batch(steps=(step(3),))).steps == 2
    assert [result.steps for result in journal.commit_all(both)] == [3, 2]
    assert len(journal.load("r1").steps) == 3
    assert len(journal.load_whole("r1").steps) == 3
    assert journal.claim(claim(2)).steps == 3
    assert [run.uid for run in journal.find("r1")] == ["r1"]
    assert commit(journal, Batch(end=DONE), epoch=2).status == "committed"
    assert journal.erase("r1")
    with fleet.server.connect() as db:
        postgres_schema.prepare(db, fleet.roles, None)
        meta = db.execute(f"SELECT value FROM {fleet.roles.schema}.meta WHERE key = 'minor'").fetchone()
    assert meta == ("99",)


def sqlite_columns(path: Path) -> Columns:
    """Return the columns of a database."""
    db = sqlite3.connect(path)
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {
        f"{table}.{name}": [kind, not not_null, default is not None]
        for table in tables
        for _, name, kind, not_null, default, _ in db.execute(f"PRAGMA table_info({table})")
    }
    db.close()
    return found


def postgres_columns(fleet: Fleet) -> Columns:
    """Return the columns of a fleet's schema."""
    with fleet.server.connect() as db:
        rows = db.execute(
            """SELECT table_name, column_name, data_type, is_nullable, column_default
               FROM information_schema.columns WHERE table_schema = %s""",
            (fleet.roles.schema,),
        ).fetchall()
    return {f"{table}.{name}": [kind, null == "YES", default is not None] for table, name, kind, null, default in rows}


def narrowed(before: Columns, after: Columns) -> list[str]:
    """Return what an older pod would stumble over: columns that are gone or changed, new ones that it must fill."""
    changed = [name for name, column in before.items() if after.get(name) != column]
    tables = {name.partition(".")[0] for name in before}
    demanded = [
        name
        for name, (_, takes_null, has_default) in after.items()
        if name not in before and name.partition(".")[0] in tables and not takes_null and not has_default
    ]
    return changed + demanded


def test_tables_only_expand(tmp_path: Path, fleet: Fleet) -> None:
    """What earlier minors have is there as it was, and nothing new is demanded of them."""
    SqliteJournal(tmp_path / "journal.db").check()
    now = {"sqlite": sqlite_columns(tmp_path / "journal.db"), "postgres": postgres_columns(fleet)}
    for minor, before in json.loads(FROZEN.read_text()).items():
        assert narrowed(before, now[minor.partition(" ")[0]]) == [], minor


@pytest.mark.parametrize(
    "after",
    [
        {},
        {"run.steps": ["text", False, True]},
        {"run.steps": ["bigint", False, True], "run.more": ["text", False, False]},
    ],
)
def test_the_check_of_expansion(after: Columns) -> None:
    """Negative control: a column that is gone, of another type, or demanded of old pods is found."""
    assert narrowed({"run.steps": ["bigint", False, True]}, after)
