"""COMMITs answered late or never, over a line that keeps what goes in: each is known again, and counts once."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest

from pinfleet.errors import JournalUnavailable
from pinfleet.journal.interface import Batch
from pinfleet.journal.postgres import PostgresJournal
from pinfleet.rules import ALL, Rules, without
from tests.cable import Cable, chunks
from tests.unit.sdk.fleets import Fleet
from tests.unit.sdk.journal_contract import call, claim, commit, step

ANSWER_SECONDS = 0.3
PATIENCE_SECONDS = 30.0
MINE, OTHER = b'"mine"', b'"other"'
FIRST = Batch(steps=(step(1),), calls=(call(1),))
"""Of the same shape as the next one, whose statement is then prepared: it goes out whole, without an answer before."""

INTENT_AND_STEP = Batch(steps=(step(2, result=MINE),), calls=(call(2, key="mine"),), tokens=5)


@dataclass
class Far:
    """A pod's journal at the end of a line."""

    fleet: Fleet
    line: Cable
    journal: PostgresJournal

    def ask_in_vain(self, batch: Batch) -> None:
        """Commit, and get no answer."""
        with pytest.raises(JournalUnavailable, match="timeout"):
            commit(self.journal, batch)

    def until_carried_out(self) -> None:
        """Wait until the server has done with a batch of a connection whose pod has hung up."""
        done = """SELECT 1 FROM pg_stat_activity WHERE usename = %s AND state = 'idle' AND query LIKE 'WITH f AS%%'
            AND pid = (SELECT min(pid) FROM pg_stat_activity WHERE usename = %s)"""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self.fleet.server.connect() as db:
            while db.execute(done, [self.fleet.roles.pods] * 2).fetchone() is None:
                assert time.monotonic() < deadline

    def steps(self) -> int:
        """Return what the run has counted."""
        with self.fleet.server.connect() as db:
            row = db.execute(f"SELECT steps FROM {self.fleet.roles.schema}.run").fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def far(fleet: Fleet, rules: Rules) -> Iterator[Far]:
    """Claim the run over a line."""
    with closing(Cable(fleet.server.port, chunks)) as line:
        url = fleet.url.replace(str(fleet.server.port), str(line.port))
        with closing(PostgresJournal(lambda: url, answer_seconds=ANSWER_SECONDS, rules=rules)) as journal:
            journal.claim(claim(1))
            commit(journal, FIRST)
            yield Far(fleet, line, journal)


@pytest.fixture
def rules() -> Rules:
    """All of them."""
    return ALL


def test_an_answer_that_was_lost(far: Far) -> None:
    """A COMMIT that was carried out and never answered is found by (identity, epoch, attempt): committed once."""
    far.line.hold_answers()
    far.ask_in_vain(INTENT_AND_STEP)
    assert far.steps() == 2
    far.line.mend()
    result = commit(far.journal, INTENT_AND_STEP)
    assert (result.status, result.steps, result.tokens) == ("committed", 2, 5)
    assert commit(far.journal, Batch(steps=(step(3),))).steps == 3


def test_a_commit_that_arrives_after_it_was_made_again(far: Far) -> None:
    """The first sending, carried out long after the second one, changes nothing."""
    far.line.hold()
    far.ask_in_vain(INTENT_AND_STEP)
    again = far.fleet.journal()
    assert commit(again, INTENT_AND_STEP).steps == 2
    assert commit(again, Batch(steps=(step(3),))).steps == 3
    far.line.mend()
    far.until_carried_out()
    assert (far.steps(), len(again.load("r1").steps)) == (3, 3)


def arrive_late(far: Far) -> PostgresJournal:
    """Have a batch carried out after another pod took the run and recorded the same step; return that pod's journal."""
    far.line.hold()
    far.ask_in_vain(INTENT_AND_STEP)
    taker = far.fleet.journal()
    taker.claim(claim(2, boot="other"))
    assert commit(taker, Batch(steps=(step(2, result=OTHER),)), epoch=2).status == "committed"
    far.line.mend()
    far.until_carried_out()
    return taker


@pytest.mark.case("INV-3", "INV-4")
def test_a_commit_that_arrives_after_another_pod_took_the_run(far: Far) -> None:
    """Fenced where it lands, though nobody waits for its answer: no step, no intent, no count of it."""
    history = arrive_late(far).load("r1")
    assert history.steps[step(2).key].result == OTHER
    assert (list(history.calls), far.steps()) == ([call(1).key], 2)
    assert commit(far.journal, INTENT_AND_STEP).status == "fenced"


@pytest.mark.parametrize("rules", [without("fence")])
def test_without_the_fence(far: Far) -> None:
    """Negative control: without the fence what arrives late overwrites the other pod's step."""
    assert arrive_late(far).load("r1").steps[step(2).key].result == MINE
