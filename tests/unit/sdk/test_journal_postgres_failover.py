"""A synchronous standby takes over in the middle of a run: what the pod was told to be committed is there."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from pinfleet.errors import JournalUnavailable
from pinfleet.journal.interface import Batch, CommitResult
from pinfleet.journal.postgres import PostgresJournal
from tests.postgres import PostgresServer
from tests.unit.sdk.conftest import MakePod
from tests.unit.sdk.fleets import Fleet
from tests.unit.sdk.halfway import HALF, STEPS, Halfway
from tests.unit.sdk.inline_pod import offer
from tests.unit.sdk.journal_contract import call, claim, commit, step

ANSWER_SECONDS = 1.0
PATIENCE_SECONDS = 30.0


class Pair:
    """A primary that waits for its standby, and a fleet on it.

    Args:
        primary: A running server, told to wait for a standby.
        standby: A running server that follows it.
        fleet: Prepared on the primary.
    """

    def __init__(self, primary: PostgresServer, standby: PostgresServer, fleet: Fleet) -> None:
        self.primary, self.standby, self.fleet = primary, standby, fleet
        user, password = fleet.roles.pods, fleet.password
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        self.url = f"postgresql://{user}:{password}@{hosts}/postgres?target_session_attrs=read-write"

    def journal(self) -> PostgresJournal:
        """Open a pod's journal, by a URL that names both."""
        return PostgresJournal(lambda: self.url, answer_seconds=ANSWER_SECONDS)

    def end_waiting(self) -> None:
        """End the pods' connections on the primary; what they wait for is then committed there alone."""
        with self.primary.connect() as admin:
            pods = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'pinfleet'"
            assert admin.execute(pods).fetchall()


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Start two servers."""
    with PostgresServer({"synchronous_standby_names": "standby"}) as primary:
        wait_for_standby(primary, is_waiting=False)  # until there is one
        fleet = Fleet(primary)
        with PostgresServer(follows=primary) as standby:
            wait_for_standby(primary, is_waiting=True)
            yield Pair(primary, standby, fleet)


def wait_for_standby(primary: PostgresServer, *, is_waiting: bool) -> None:
    """Let commits wait for the standby, or not."""
    with primary.connect() as admin:
        how = "RESET synchronous_commit" if is_waiting else "SET synchronous_commit = local"
        admin.execute(f"ALTER SYSTEM {how}")
        admin.execute("SELECT pg_reload_conf()")


@pytest.mark.case("runs: a journal that fails over")
async def test_the_run_goes_on(pair: Pair, make_pod: MakePod) -> None:
    """The pod finds the new primary by itself, nothing that was recorded is lost, and every step runs once."""
    half = Halfway()
    pod = make_pod(half.agent, journal=pair.journal())
    await pod.offer("r1", offer())
    await half.reached.wait()
    await asyncio.to_thread(pair.primary.kill)
    half.go.set()
    assert (await pod.offer("r9", offer())).status == 503  # nobody may write meanwhile
    assert half.ran == list(range(HALF + 1))
    await asyncio.to_thread(pair.standby.promote)
    assert (await pod.until("r1", "succeeded")).steps == STEPS
    assert half.ran == list(range(STEPS))


def test_a_commit_that_only_the_primary_has(pair: Pair) -> None:
    """A commit that the standby does not have is not called committed, also when its row is there to be read."""
    journal = pair.journal()
    journal.claim(claim(1))
    batch = Batch(steps=(step(),), calls=(call(2),))
    pair.standby.freeze()
    try:
        with pytest.raises(JournalUnavailable):
            commit(journal, batch)
        pair.end_waiting()
        with pair.primary.connect() as admin:
            assert admin.execute(f"SELECT steps FROM {pair.fleet.roles.schema}.run").fetchone() == (1,)
        with pytest.raises(JournalUnavailable):
            commit(journal, batch)
    finally:
        pair.standby.thaw()
    result = eventually(journal, batch)
    assert (result.status, result.steps) == ("committed", 1)
    journal.close()


def eventually(journal: PostgresJournal, batch: Batch) -> CommitResult:
    """Commit, asking again until there is an answer."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return commit(journal, batch)
        except JournalUnavailable:
            assert time.monotonic() < deadline
