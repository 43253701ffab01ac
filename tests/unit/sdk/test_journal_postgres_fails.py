"""What databases do to those who use them, on a PostgreSQL server of these tests' own: the run goes on after.

Each disturbance comes while a run is under way, between two of its steps, and is mended while a step waits.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from pinfleet.errors import JournalUnavailable
from pinfleet.journal.interface import Batch
from pinfleet.journal.opening import UrlFile
from pinfleet.journal.postgres import PostgresJournal
from tests.cable import Cable, chunks
from tests.postgres import PostgresServer
from tests.unit.sdk.conftest import MakePod
from tests.unit.sdk.fleets import Fleet
from tests.unit.sdk.halfway import HALF, STEPS, Halfway
from tests.unit.sdk.inline_pod import offer
from tests.unit.sdk.journal_contract import claim, commit, step

ANSWER_SECONDS = 1.0
Mend = Callable[[], object]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Start a server that may be disturbed."""
    with PostgresServer({"max_connections": "12"}) as started:
        yield started


@pytest.fixture
def own(server: PostgresServer) -> Iterator[Fleet]:
    """Prepare a fleet on it."""
    made = Fleet(server)
    yield made
    made.close()


def crash(server: PostgresServer, _: Cable) -> Mend:
    """Every process is killed; it recovers when it starts."""
    server.kill()
    return server.start


def freeze(server: PostgresServer, _: Cable) -> Mend:
    """Every process is stopped; sockets stay open and nobody answers."""
    server.freeze()
    return server.thaw


def refuse(server: PostgresServer, _: Cable) -> Mend:
    """Connections are cut, and there is none left."""
    with server.connect() as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pinfleet'")
    taken = []
    while True:
        try:
            taken.append(server.connect())
        except psycopg.OperationalError:
            break

    def mend() -> None:
        for connection in taken:
            connection.close()

    return mend


def read_only(server: PostgresServer, _: Cable) -> Mend:
    """Nothing may be written, as on a server that was demoted."""
    return switch_to_read_only(server)


def switch_to_read_only(server: PostgresServer) -> Mend:
    """Make it read-only; returns what makes it writable again."""

    def switch(to: str) -> None:
        with server.connect() as admin:
            admin.execute(f"ALTER SYSTEM SET default_transaction_read_only = {to}")
            admin.execute("SELECT pg_reload_conf()")

    switch("on")

    def mend() -> None:
        with server.connect() as admin:
            admin.execute("SET default_transaction_read_only = off")
            admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
            admin.execute("SELECT pg_reload_conf()")

    return mend


def mute(_: PostgresServer, line: Cable) -> Mend:
    """What it is sent is carried out, and its answers are lost on the way."""
    line.hold_answers()
    return line.mend


def deaf(_: PostgresServer, line: Cable) -> Mend:
    """What it is sent arrives late, when its sender has hung up and asked again."""
    line.hold()
    return line.mend


@pytest.mark.parametrize("disturb", [crash, freeze, refuse, read_only, mute, deaf])
@pytest.mark.case("runs: no journal in the middle of a step or at its commit")
async def test_the_run_goes_on(
    server: PostgresServer, own: Fleet, make_pod: MakePod, disturb: Callable[[PostgresServer, Cable], Mend]
) -> None:
    """A step whose commit finds no database waits, runs once, and is committed once the database is back."""
    half = Halfway()
    with closing(Cable(server.port, chunks)) as line:
        url = own.url.replace(str(server.port), str(line.port))
        pod = make_pod(half.agent, journal=PostgresJournal(lambda: url, answer_seconds=ANSWER_SECONDS))
        await pod.offer("r1", offer())
        await half.reached.wait()
        mend = await asyncio.to_thread(disturb, server, line)
        try:
            half.go.set()
            assert (await pod.offer("r9", offer())).status == 503  # said while it lasts
            assert half.ran == list(range(HALF + 1))  # one step waits for its commit
        finally:
            await asyncio.to_thread(mend)
        await asyncio.to_thread(server.until_it_answers)
        assert (await pod.until("r1", "succeeded")).steps == STEPS
        assert half.ran == list(range(STEPS))


def test_check_says_what_is_wrong(server: PostgresServer, own: Fleet) -> None:
    """A pod that is not ready says why: read-only, wrong password, no such database, not prepared."""
    journal = own.journal()
    mend = switch_to_read_only(server)
    try:
        with pytest.raises(JournalUnavailable, match="read-only"):
            journal.check()
    finally:
        mend()
    user = own.roles.pods
    for url, said in (
        (server.url(user, "wrong"), "password authentication failed"),
        (server.url(user, own.password, database="nowhere"), 'database "nowhere" does not exist'),
        (server.url(), "pinfleet-agent db prepare"),
    ):
        other = PostgresJournal(lambda url=url: url)  # type: ignore[misc]
        with pytest.raises(JournalUnavailable, match=said) as raised:
            other.check()
        assert "wrong@" not in str(raised.value)
        other.close()


def test_rotated_password(own: Fleet, tmp_path: Path) -> None:
    """The URL is read again for each connection, so a rotated Secret needs no new pod."""
    file = tmp_path / "url"
    journal = PostgresJournal(UrlFile(file))
    with pytest.raises(JournalUnavailable, match="url: No such file"):
        journal.check()
    file.write_text(own.url + "\n")
    journal.claim(claim(1))
    own.password = "another"  # noqa: S105 - of this test
    own.prepare()
    with own.server.connect() as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pinfleet'")
    for said in ("terminat|closed", "password authentication failed"):
        with pytest.raises(JournalUnavailable, match=said):
            commit(journal, Batch(steps=(step(),)))
    file.write_text(own.url)
    assert commit(journal, Batch(steps=(step(),))).status == "committed"
    journal.close()


@pytest.mark.case("runs: a full journal")
def test_full() -> None:
    """A disk that takes no more is unavailable, loses nothing, and is usable once there is room."""
    with PostgresServer() as server:
        fleet = Fleet(server)
        server.kill()
        server.largest_file_kib = 20 * 1024  # more than a segment of its log: only tables meet it
        server.start()
        journal = fleet.journal()
        journal.claim(claim(1))
        recorded, said = fill(journal)
        assert "extend" in said
        assert recorded > 0
        assert len(journal.load("r1").steps) == recorded
        server.kill()
        server.largest_file_kib = None
        server.start()
        with pytest.raises(JournalUnavailable):
            journal.check()  # its connection was the old server's
        assert commit(journal, Batch(steps=(step(99),))).steps == recorded + 1
        fleet.close()


def fill(journal: PostgresJournal) -> tuple[int, str]:
    """Commit results of 1 MB until there is no room; return how many, and what was said."""
    for n in range(100):
        try:
            commit(journal, Batch(steps=(step(n + 1, result=noise(n)),)))
        except JournalUnavailable as err:
            return n, str(err)
    pytest.fail("the limit was not met")


def noise(seed: int) -> bytes:
    """Return 1 MB that does not compress."""
    return random.Random(seed).randbytes(1_000_000)
