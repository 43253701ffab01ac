"""What a pod's answer changes in its mirror."""

from typing import Any

import pytest

from pinfleet.wire import RunListing, StateAnswer
from pinfleet_operator.runs.dispatch import hear
from tests.unit.operator.runs.conftest import listing, mirror


def answer(n: int, *runs: RunListing, **changes: Any) -> StateAnswer:
    """An answer of the same boot."""
    known: dict[str, Any] = {"protocol": 1, "version": "v1", "pod_uid": "pod-a", "boot": "boot-a", "capacity": 10}
    return StateAnswer(**(known | changes), n=n, runs=runs)


def test_a_delta_adds_and_changes() -> None:
    """The runs of a delta are taken over, the others stay."""
    known = mirror(listing(steps=1), listing(uid="other"))

    assert hear(known, answer(6, listing(steps=2))) == {"run-uid"}
    assert (known.n, known.runs["run-uid"].steps, set(known.runs)) == (6, 2, {"run-uid", "other"})


def test_a_full_answer_shows_what_is_absent() -> None:
    """Absence counts in a full answer: the runs that are no longer listed are touched too."""
    known = mirror(listing(), listing(uid="other"))

    assert hear(known, answer(6, listing(uid="other"), full=True)) == {"run-uid", "other"}
    assert set(known.runs) == {"other"}


@pytest.mark.case("runs: a poll is cut, late, out of order or doubled")
def test_an_answer_out_of_order_is_ignored() -> None:
    """A poll that comes late, or twice, turns nothing back."""
    known = mirror(listing(steps=5), n=9)

    assert hear(known, answer(8, listing(steps=1), full=True)) == set()
    assert known.runs["run-uid"].steps == 5


@pytest.mark.case("runs: a poll is cut, late, out of order or doubled")
def test_an_acked_run_does_not_come_back() -> None:
    """An answer that was on its way during the ack still lists the run; the next one decides."""
    known = mirror(n=5)
    known.forgotten["run-uid"] = 7

    assert hear(known, answer(6, listing("parked"))) == set()
    assert known.runs == {}
    assert hear(known, answer(8, listing(epoch=2))) == {"run-uid"}
    assert known.forgotten == {}


def test_passing_a_202_touches_its_run() -> None:
    """A run that was accepted and is not listed once the answers have come past it must be judged again."""
    known = mirror(n=5)
    known.accepted["run-uid"] = (1, 6)

    assert known.has_seen("run-uid", 1) is None
    assert hear(known, answer(6)) == {"run-uid"}
    assert known.has_seen("run-uid", 1) is False
