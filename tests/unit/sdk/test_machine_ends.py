"""The pod's machine: how runs end there, who says so first, and when they are forgotten."""

from typing import Any

import pytest

from pinfleet.journal.interface import ClaimResult, CommitResult, End
from pinfleet.pod import actions as act
from pinfleet.reports import Ended
from pinfleet.rules import without
from tests.unit.sdk.inline_pod import offer
from tests.unit.sdk.machines import DONE, at, kinds, listed, machine, replies, running


@pytest.mark.parametrize(
    ("state", "epoch", "expected"),
    [
        ("running", 1, (409, "still_running", None)),
        ("succeeded", 1, (200, None, None)),
        ("parked", 1, (200, None, None)),
        ("succeeded", 0, (409, "stale_epoch", 1)),
    ],
)
def test_ack(state: Any, epoch: int, expected: tuple[int, Any, Any]) -> None:
    """An end or a park is forgotten by its ack, a running run is not."""
    m = machine()
    running(m)
    if state != "running":
        m.ended(Ended("r1", 1, state, 1, b'{"result":1}' if state == "succeeded" else None))
        m.stopped("r1")
    assert [reply[1:] for reply in replies(m.ack("a", "r1", epoch))] == [expected]
    assert m.is_empty == (expected[0] == 200)


def test_ack_of_an_unknown_run() -> None:
    """An ack that comes again finds nothing, and that is fine."""
    assert replies(machine().ack("a", "r1", 1)) == [("a", 204, None, None)]


@pytest.mark.parametrize(
    ("epoch", "expected"), [(2, (202, None, None)), (1, (409, "stale_epoch", 2)), (3, (404, "unknown_run", None))]
)
def test_delete_by_epoch(epoch: int, expected: tuple[int, Any, Any]) -> None:
    """A DELETE ends the epoch that is held, and no other."""
    m = machine()
    running(m, epoch=2)
    assert [reply[1:] for reply in replies(m.delete("d", "r1", epoch, "cancel", at()))] == [expected]


@pytest.mark.parametrize(
    ("reason", "state", "outcome"),
    [
        ("cancel", "cancelled", b"{}"),
        ("deleted", "cancelled", b"{}"),
        ("deadline", "limit", b'{"limit":"deadline"}'),
        ("active", "limit", b'{"limit":"active"}'),
    ],
)
def test_grace(reason: Any, state: str, outcome: bytes) -> None:
    """Rule 10: code that does not stop in its grace is ended without it, for the reason that was given."""
    m = machine()
    running(m)
    assert kinds(m.delete("d", "r1", 1, reason, at())) == ["Cancel"]
    assert m.tick(at(29)) == ()
    (commit,) = m.tick(at(30))
    assert isinstance(commit, act.CommitEnd)
    assert (commit.epoch, commit.end) == (1, End(state, outcome))  # type: ignore[arg-type]
    assert m.tick(at(31)) == ()
    actions = m.end_committed("r1", 1, CommitResult("committed", 1, 4, commit.end), at(31))
    assert (kinds(actions), listed(m)) == (["Fence"], (1, state))


def test_grace_without_the_rule() -> None:
    """Negative control: without rule 10 nothing ends it."""
    m = machine(rules=without("cancel-grace"))
    running(m)
    m.delete("d", "r1", 1, "cancel", at())
    assert m.tick(at(1_000)) == ()


def test_an_end_by_the_code_wins() -> None:
    """Rule 10: an end that the code reached in its grace is the outcome."""
    m = machine()
    running(m)
    m.delete("d", "r1", 1, "cancel", at())
    m.ended(Ended("r1", 1, "succeeded", 3, b'{"result":1}'))
    assert m.tick(at(31)) == ()
    assert listed(m) == (1, "succeeded")


@pytest.mark.case("runs: a cancel meets a run that finishes")
def test_a_recorded_end_wins() -> None:
    """Rule 10: if the journal holds an end when the pod would end it, that one is listed."""
    m = machine()
    running(m)
    m.delete("d", "r1", 1, "cancel", at())
    m.tick(at(31))
    m.end_committed("r1", 1, CommitResult("fenced", 1, 3, DONE), at(31))
    assert listed(m) == (1, "succeeded")


def test_an_end_is_tried_again() -> None:
    """An end that the journal did not answer is committed again."""
    m = machine()
    running(m)
    m.delete("d", "r1", 1, "cancel", at())
    m.tick(at(31))
    m.end_committed("r1", 1, None, at(31))
    assert (m.tick(at(31.5)), kinds(m.tick(at(32)))) == ((), ["CommitEnd"])


@pytest.mark.case("runs: a cancel meets an offer")
def test_delete_during_the_claim() -> None:
    """A DELETE that meets the claim ends the run as soon as it is claimed."""
    m = machine()
    m.offer("q", "r1", offer(), at())
    assert replies(m.delete("d", "r1", 1, "cancel", at())) == [("d", 202, None, None)]
    assert kinds(m.claimed("r1", 1, ClaimResult("claimed", 1), at())) == ["CommitEnd"]


def test_superseded() -> None:
    """A superseded execution stops at its boundary and commits no end, however long that takes."""
    m = machine()
    running(m)
    assert kinds(m.delete("d", "r1", 1, "superseded", at())) == ["Drain"]
    assert m.tick(at(500)) == ()


@pytest.mark.parametrize("has_code", [True, False])
def test_offered_end(*, has_code: bool) -> None:
    """offer.end claims and ends: live code in its grace, a run without code at once."""
    m = machine()
    if has_code:
        running(m)
    m.offer("q", "r1", offer(2, end="cancel"), at())
    actions = m.claimed("r1", 2, ClaimResult("claimed", 2, continues=has_code), at())
    assert kinds(actions) == (["Adopt", "Cancel"] if has_code else ["CommitEnd"])
    assert replies(actions) == [("q", 202, None, None)]


def test_execution_that_ends_without_a_word() -> None:
    """Code that is gone without an end is given back, not Running for ever."""
    m = machine()
    running(m)
    m.stopped("r1")
    assert listed(m) == (1, "fenced")
