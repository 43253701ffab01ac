"""The pod's machine: rows of (sentence, inputs, what it answers), and each rule with its negative control."""

from http import HTTPStatus
from typing import Any

import pytest

from pinfleet.journal.interface import ClaimResult, CommitResult
from pinfleet.pod import actions as act
from pinfleet.reports import Ended, Progress
from pinfleet.rules import without
from pinfleet.wire import Accepted
from tests.unit.sdk.inline_pod import offer
from tests.unit.sdk.machines import DONE, at, kinds, listed, machine, replies, running


def test_offer_is_answered_after_its_claim() -> None:
    """An offer claims, then starts, is listed, and only then answered 202."""
    m = machine()
    assert kinds(m.offer("q", "r1", offer(), at())) == ["Claim"]
    assert listed(m) is None
    actions = m.claimed("r1", 1, ClaimResult("claimed", 1, steps=7), at())
    assert kinds(actions) == ["Start"]
    (reply,) = [action for action in actions if isinstance(action, act.Reply)]
    assert isinstance(reply.body, Accepted)
    assert (reply.status, reply.body.n) == (HTTPStatus.ACCEPTED, m.state(0, "").n)
    assert m.state(0, "").runs[0].steps == 7


@pytest.mark.case("runs: an offer is duplicated")
def test_same_epoch_again() -> None:
    """The same epoch again is an idempotent update: one claim, one start, every call answered."""
    m = machine()
    m.offer("q1", "r1", offer(), at())
    assert m.offer("q2", "r1", offer(), at()) == ()
    actions = m.claimed("r1", 1, ClaimResult("claimed", 1), at())
    assert [reply[:2] for reply in replies(actions)] == [("q1", 202), ("q2", 202)]
    again = m.offer("q3", "r1", offer(timers_fired=("t",)), at())
    assert (kinds(again), replies(again)) == (["Update"], [("q3", 202, None, None)])


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (offer(4), (409, "stale_epoch", 5)),
        (offer(9, version="v2"), (421, "wrong_version", "v1")),
        (offer(9, end="superseded"), (400, "bad_request", None)),
    ],
)
def test_refused_offers(made: Any, expected: tuple[int, str, Any]) -> None:
    """An older epoch, another version and a senseless end are refused, with what is known."""
    m = machine()
    running(m, epoch=5)
    assert [reply[1:] for reply in replies(m.offer("q", "r1", made, at()))] == [expected]


def test_stale_epoch_without_the_rule() -> None:
    """Negative control: without the check an older epoch goes to the journal."""
    m = machine(rules=without("stale-epoch"))
    running(m, epoch=5)
    assert kinds(m.offer("q", "r1", offer(4), at())) == ["Claim"]


def test_full() -> None:
    """A slot is taken from the offer until the ack: claims under way and listed ends count."""
    m = machine(capacity=2)
    running(m, "r1")
    m.ended(Ended("r1", 1, "succeeded", 1, b'{"result":1}'))
    m.stopped("r1")
    m.offer("q", "r2", offer(), at())
    assert replies(m.offer("q3", "r3", offer(), at())) == [("q3", 429, "full", 2)]
    m.ack("a", "r1", 1)
    assert kinds(m.offer("q4", "r3", offer(), at())) == ["Claim"]


def test_draining() -> None:
    """A draining pod takes no new runs, but answers the same epoch again."""
    m = machine()
    running(m)
    assert kinds(m.drain()) == ["Drain"]
    assert replies(m.offer("q", "r2", offer(), at())) == [("q", 503, "draining", None)]
    assert replies(m.offer("q", "r1", offer(), at())) == [("q", 202, None, None)]
    assert m.drain() == ()
    m.ended(Ended("r1", 1, "drained", 3))
    assert (listed(m), m.state(0, "").draining) == ((1, "drained"), True)


def test_claim_that_ends_while_draining() -> None:
    """A claim that comes back to a draining pod is given back without a start."""
    m = machine()
    m.offer("q", "r1", offer(), at())
    m.drain()
    assert kinds(m.claimed("r1", 1, ClaimResult("claimed", 1), at())) == []
    assert listed(m) == (1, "drained")


def test_journal_does_not_answer() -> None:
    """A claim without an answer is a 503, and takes no slot."""
    m = machine(capacity=1)
    m.offer("q", "r1", offer(), at())
    assert replies(m.claimed("r1", 1, None, at())) == [("q", 503, "journal_unavailable", None)]
    assert m.is_empty


def test_fenced_claim() -> None:
    """Rule 13: a claim below the journal's epoch is refused with that epoch."""
    m = machine()
    m.offer("q", "r1", offer(2), at())
    assert replies(m.claimed("r1", 2, ClaimResult("fenced", 7), at())) == [("q", 409, "stale_epoch", 7)]
    assert m.is_empty


def test_fenced_claim_without_the_rule() -> None:
    """Negative control: without rule 13 the operator does not learn the journal's epoch."""
    m = machine(rules=without("journal-epoch"))
    m.offer("q", "r1", offer(2), at())
    assert replies(m.claimed("r1", 2, ClaimResult("fenced", 7), at())) == [("q", 409, "stale_epoch", None)]


def test_fenced_claim_of_live_code() -> None:
    """A fenced claim fences the code that runs here below it, too."""
    m = machine()
    running(m)
    m.offer("q", "r1", offer(2), at())
    assert kinds(m.claimed("r1", 2, ClaimResult("fenced", 7), at())) == ["Fence"]
    (run,) = m.state(0, "").runs
    assert (run.epoch, run.state, run.journal_epoch) == (1, "fenced", 7)


def test_ended_journal_is_answered() -> None:
    """Rule 2: a terminal journal row is listed at the offered epoch; nothing starts."""
    m = machine()
    m.offer("q", "r1", offer(3), at())
    actions = m.claimed("r1", 3, ClaimResult("ended", 1, 5, DONE), at())
    assert (kinds(actions), replies(actions), listed(m)) == ([], [("q", 202, None, None)], (3, "succeeded"))


def test_adopted() -> None:
    """A higher epoch of live code is claimed, then adopted without a restart."""
    m = machine()
    running(m)
    assert kinds(m.offer("q", "r1", offer(2), at())) == ["Claim"]
    assert listed(m) == (1, "running")
    actions = m.claimed("r1", 2, ClaimResult("claimed", 2, 4, continues=True), at())
    assert (kinds(actions), listed(m)) == (["Adopt"], (2, "running"))


def test_restarted_when_another_had_it() -> None:
    """Live code that cannot go on is fenced; the new epoch starts once it has stopped."""
    m = machine()
    running(m)
    m.offer("q", "r1", offer(3), at())
    assert kinds(m.claimed("r1", 3, ClaimResult("claimed", 3), at())) == ["Fence"]
    m.ended(Ended("r1", 1, "fenced", 1, journal_epoch=3))
    assert listed(m) == (3, "running")
    assert kinds(m.stopped("r1")) == ["Start"]


def test_two_higher_epochs() -> None:
    """A newer epoch that comes during a claim is claimed after it; the one between is refused."""
    m = machine()
    m.offer("q1", "r1", offer(1), at())
    m.offer("q2", "r1", offer(2), at())
    assert replies(m.offer("q3", "r1", offer(3), at())) == [("q2", 409, "stale_epoch", 3)]
    assert kinds(m.claimed("r1", 1, ClaimResult("claimed", 1), at())) == ["Start", "Claim"]
    actions = m.claimed("r1", 3, ClaimResult("claimed", 3, continues=True), at())
    assert (kinds(actions), replies(actions)) == (["Adopt"], [("q3", 202, None, None)])


def test_held_slot_lowers_the_capacity() -> None:
    """Acked code that goes on holds its slot: the pod says one less."""
    m = machine(capacity=2)
    running(m)
    m.ended(Ended("r1", 1, "cancelled", 1, b"{}"))
    m.ack("a", "r1", 1)
    assert (m.state(0, "").capacity, m.state(0, "").runs) == (1, ())
    m.stopped("r1")
    assert m.state(0, "").capacity == 2


def test_changes_since() -> None:
    """A poll hears what changed after its number; all of it if it knows nothing, of another boot, or after an ack."""
    m = machine(capacity=3)
    running(m, "r1")
    seen = m.state(0, "").n
    running(m, "r2")
    assert [run.uid for run in m.state(seen, "b1").runs] == ["r2"]
    assert not m.state(seen, "b1").full
    for after, boot in ((0, "b1"), (seen, "another"), (seen + 99, "b1")):
        state = m.state(after, boot)
        assert (state.full, len(state.runs)) == (True, 2)
    m.ended(Ended("r1", 1, "succeeded", 1, b'{"result":1}'))
    m.stopped("r1")
    seen = m.n
    m.ack("a", "r1", 1)
    assert m.state(seen, "b1").full


def test_progress_is_told_by_the_tick() -> None:
    """Steps alone do not answer every poll at once: the next tick does, once."""
    m = machine()
    running(m)
    assert m.progressed("r1", 1, Progress(5)) == ()
    assert m.state(0, "").runs[0].steps == 5
    assert m.tick(at(1)) == (act.Wake(),)
    assert m.tick(at(2)) == ()


def test_leader() -> None:
    """Rule 8: a leader with a lower number than the highest seen is refused, and hears that number."""
    m = machine()
    assert m.check_leader(4) is None
    assert m.check_leader(4) is None
    refused = m.check_leader(3)
    assert refused is not None
    assert (refused.code, refused.value) == ("stale_leader", 4)
    assert m.check_leader(5) is None


def test_leader_without_the_rule() -> None:
    """Negative control: without rule 8 a leader that slept is heard."""
    m = machine(rules=without("leader"))
    m.check_leader(4)
    assert m.check_leader(3) is None


@pytest.mark.parametrize("epoch", [1, 9])
def test_late_words_of_another_epoch(epoch: int) -> None:
    """Reports of an execution that is no longer the listed one change nothing."""
    m = machine()
    running(m, epoch=2)
    before = m.state(0, "")
    m.progressed("r1", epoch, Progress(50))
    m.ended(Ended("r1", epoch, "failed", 50, b'{"error":{"type":"x","message":"y"}}'))
    m.end_committed("r1", epoch, CommitResult("committed", epoch, 1, DONE), at())
    assert m.state(0, "") == before


def test_words_about_unknown_runs() -> None:
    """Late words about runs that are gone are ignored."""
    m = machine()
    assert m.claimed("x", 1, None, at()) == ()
    assert m.progressed("x", 1, Progress(1)) == ()
    assert m.ended(Ended("x", 1, "failed", 1)) == ()
    assert m.stopped("x") == ()
    assert m.end_committed("x", 1, None, at()) == ()


@pytest.mark.parametrize(("left", "seconds"), [(10.0, 10), (5.0, 5)])
def test_an_update_never_extends_the_active_seconds(left: float, seconds: float) -> None:
    """The same epoch again may lower what is left, never raise it."""
    m = machine()
    running(m, active_seconds_left=left)
    m.offer("q", "r1", offer(active_seconds_left=99.0), at(1))
    assert m.tick(at(seconds - 0.1)) == ()
    assert kinds(m.tick(at(seconds))) == ["Cancel"]
