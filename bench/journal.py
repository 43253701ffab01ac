"""`journal`: what a recorded step costs, held against a bare INSERT and COMMIT of the same row by the same driver.

Both databases are on the disk under bench/out and sync what they commit. Ours and bare alternate in small blocks, so
that whatever else the machine does meets both. DBOS runs in an environment of its own (bench/rivals.txt), a process
for each unit. No cluster is needed.
"""

import asyncio
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from bench.committing import DONE_AT, claim, intent, step
from bench.report import OUT, Row, judged, save
from bench.together import in_one_pod, over_connections, replayed
from pinfleet.journal import postgres_schema
from pinfleet.journal.interface import Batch, Journal, Owner
from pinfleet.journal.postgres import PostgresJournal
from pinfleet.journal.sqlite import SqliteJournal
from tests.postgres import PostgresServer, free_port

BLOCK, BLOCKS = 25, 24
RUNS, STEPS_EACH = 100, 20
REPLAYS = 5
SERIAL = 500
NO_BOUND = 10**9
BARE_COLUMNS = (
    "run, scope, name, n, segment, kind, status, arguments, result, manifest, epoch, attempt, version, pod, begun, done"
)
Do = Callable[[int], None]


def bare_row(n: int) -> tuple[Any, ...]:
    """The values of a step's row, without what fences it."""
    row = step(n)
    return (
        "r1", "", row.key.name, n, 1, row.kind, row.status, row.arguments, row.result, row.manifest, 1, 1, "v1",
        "pod-1", DONE_AT.isoformat(), DONE_AT.isoformat(),
    )  # fmt: skip


def bare_sqlite(path: Path) -> Do:
    """A bare commit of that row on SQLite, as durable as ours."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"CREATE TABLE bare ({BARE_COLUMNS}, PRIMARY KEY (run, scope, name, n)) WITHOUT ROWID")
    insert = bare_insert().replace("%s", "?")

    def do(n: int) -> None:
        db.execute(insert, bare_row(n))

    return do


def bare_insert() -> str:
    """The statement of a bare commit."""
    return f"INSERT INTO bare ({BARE_COLUMNS}) VALUES ({', '.join(['%s'] * 16)})"  # noqa: S608 - constants


def bare_postgres(server: PostgresServer, url: str) -> Do:
    """A bare commit of that row on PostgreSQL: prepared, autocommit."""
    kinds = dict.fromkeys(("n", "segment", "epoch", "attempt"), "bigint") | dict.fromkeys(
        ("arguments", "result"), "bytea"
    )
    columns = ", ".join(f"{name} {kinds.get(name, 'text')}" for name in BARE_COLUMNS.split(", "))
    with server.connect() as admin:
        admin.execute(f"CREATE TABLE IF NOT EXISTS bare ({columns}, PRIMARY KEY (run, scope, name, n))")
        admin.execute("TRUNCATE bare")
    db = psycopg.connect(url, autocommit=True, prepare_threshold=0)
    insert = bare_insert()

    def do(n: int) -> None:
        db.execute(insert, bare_row(n))

    return do


def our_step(journal: Journal) -> Do:
    """One commit: fence, counter, result."""

    def do(n: int) -> None:
        done = journal.commit(Owner("r1", 1), Batch(steps=(step(n),), tokens=1), max_steps=NO_BOUND, now=DONE_AT)
        assert done.status == "committed", done

    return do


def our_tool(journal: Journal) -> Do:
    """Two commits: the intent with its key, and the result."""

    def do(n: int) -> None:
        for batch in (Batch(calls=(intent(n),)), Batch(steps=(step(n, kind="tool"),))):
            done = journal.commit(Owner("r1", 1), batch, max_steps=NO_BOUND, now=DONE_AT)
            assert done.status == "committed", done

    return do


def alternating(ours: Do, bare: Do) -> tuple[float, float]:
    """Milliseconds of ours and of bare: the medians of all their commits, taken in turns."""
    taken: tuple[list[float], list[float]] = ([], [])
    for block in range(BLOCKS + 1):
        for do, into in ((ours, taken[0]), (bare, taken[1])):
            for n in range(block * BLOCK, (block + 1) * BLOCK):
                began = time.perf_counter()
                do(n + 1)
                if block:  # the first one warms up
                    into.append(time.perf_counter() - began)
    return 1000 * median(taken[0]), 1000 * median(taken[1])


@contextmanager
def fleet(server: PostgresServer, name: str) -> Iterator[str]:
    """A fleet's schema on the server; gives the pods' URL."""
    roles = postgres_schema.Roles(schema=name, owner=f"{name}_owner", pods=f"{name}_pods")
    with server.connect() as admin:
        postgres_schema.prepare(admin, roles, name)
    yield server.url(roles.pods, name)


@contextmanager
def one_millisecond(server: PostgresServer) -> Iterator[int]:
    """The server behind a network of 1 ms, there and back; gives the port."""
    port = free_port()
    delay = Path(__file__).with_name("delay.py")
    proxy = subprocess.Popen([sys.executable, str(delay), str(port), str(server.port), "0.0005"])
    try:
        yield port
    finally:
        proxy.terminate()
        proxy.wait()


def compared(name: str, journals: Callable[[], Journal], bares: Callable[[], Do]) -> list[Row]:
    """The rows of a step and of a tool on one database."""
    rows = []
    for what, of, commits in (("step", our_step, 1), ("tool", our_tool, 2)):
        journal = journals()
        journal.claim(claim("r1"))
        ours, bare = alternating(of(journal), bares())
        journal.close()
        size = f"{BLOCK * BLOCKS} each, in turns"
        rows.append(judged(f"{what}, {name}", ours, "ms", commits * bare, most=1.5, n=size))
    return rows


def serial_rate(bare: Do) -> float:
    """Bare commits per second, one after the other."""
    began = time.perf_counter()
    for n in range(SERIAL):
        bare(n)
    return SERIAL / (time.perf_counter() - began)


def together_row(name: str, journals: Callable[[], Journal], bare: float, least: float, against: str) -> Row:
    """The row of 100 runs in one pod."""
    journal = journals()
    rate = asyncio.run(in_one_pod(journal, RUNS, STEPS_EACH))
    size = f"{RUNS} runs of {STEPS_EACH} steps; against {against}"
    return judged(f"{RUNS} runs in one pod, {name}", rate, "steps/s", bare, least=least, n=size)


def replay_row(name: str, journals: Callable[[], Journal]) -> Row:
    """The row of a replay."""
    taken = [1000 * asyncio.run(replayed(journals())) for _ in range(REPLAYS)]
    return judged(f"replay of 1,000 steps, {name}", median(taken), "ms", 50, most=1, n=f"median of {REPLAYS}")


def far_rows(journals: Callable[[], Journal]) -> list[Row]:
    """What depends on the number of round trips, over a network of 1 ms; bare connections would measure that one."""
    rate = asyncio.run(in_one_pod(journals(), RUNS, STEPS_EACH))
    name, size = "PostgreSQL 1 ms away", f"{RUNS} runs of {STEPS_EACH} steps"
    return [Row(f"{RUNS} runs in one pod, {name}", rate, "steps/s", n=size), replay_row(name, journals)]


def rival_rows(folder: Path, server: PostgresServer) -> list[Row]:
    """What a step costs with DBOS, for information."""
    python = rivals()
    rows = []
    for name, url in (("PostgreSQL", server.url()), ("SQLite", f"sqlite:///{folder / 'dbos.db'}")):
        script = str(Path(__file__).with_name("rival_dbos.py"))
        done = subprocess.run([python, script, url], capture_output=True, text=True, timeout=300, check=True)
        rows.append(Row(f"step of DBOS, {name}", float(done.stdout.split()[-1]), "ms"))
    return rows


def rivals() -> str:
    """The interpreter of the rivals' environment, made once."""
    place, wanted = OUT / "rivals", Path(__file__).with_name("rivals.txt")
    if not (place / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([place / "bin" / "pip", "install", "-q", "-r", str(wanted)], check=True)
        (place / "done").touch()
    return str(place / "bin" / "python")


def main() -> bool:
    """Run the bench; returns whether every goal is met."""
    OUT.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=OUT))
    numbers = iter(range(1000))

    def file() -> Path:
        return folder / f"{next(numbers)}.db"

    def on_sqlite() -> Journal:
        return SqliteJournal(file())

    try:
        with PostgresServer({"max_connections": "150"}, is_durable=True) as server:

            def on_postgres(port: int = 0) -> Journal:
                with fleet(server, f"bench{next(numbers)}") as url:
                    return PostgresJournal(lambda: url.replace(str(server.port), str(port or server.port)))

            rows = compared("SQLite", on_sqlite, lambda: bare_sqlite(file()))
            rows += compared("PostgreSQL", on_postgres, lambda: bare_postgres(server, server.url()))
            with one_millisecond(server) as port:
                far = server.url().replace(str(server.port), str(port))
                rows += compared("PostgreSQL 1 ms away", lambda: on_postgres(port), lambda: bare_postgres(server, far))
            rate = serial_rate(bare_sqlite(file()))
            rows.append(together_row("SQLite", on_sqlite, rate, 3, "serial bare commits"))
            bare_postgres(server, server.url())
            rate = asyncio.run(over_connections(server.url(), bare_insert(), bare_row, RUNS, STEPS_EACH))
            rows.append(together_row("PostgreSQL", on_postgres, rate, 0.8, f"bare ones over {RUNS} connections"))
            rows += [replay_row("SQLite", on_sqlite), replay_row("PostgreSQL", on_postgres)]
            with one_millisecond(server) as port:
                rows += far_rows(lambda: on_postgres(port))
            rows += rival_rows(folder, server)
    finally:
        shutil.rmtree(folder)
    save("journal", rows, {"fsync": "on", "postgres": "16, over TCP on loopback"}, [])
    return all(row.met is not False for row in rows)
