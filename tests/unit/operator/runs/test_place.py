"""Which pod takes a run."""

import random
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from pinfleet_operator.runs.place import Seat, place, place_alone
from tests.unit.operator.runs.conftest import NOW, POD, mirror

change = msgspec.structs.replace


def seat(name: str, taken: int, **pod: Any) -> Seat:
    """A pod of ten slots."""
    record = change(POD, name=name, uid=name, **pod)
    return Seat(pod=record, version="v1", mirror=mirror(pod_uid=name), taken=taken, runs_per_pod=10, is_closed=False)


def test_the_fullest_pod_that_fits_is_taken() -> None:
    """Runs gather on few pods, so that the others can go; the order of the pods does not matter."""
    seats = [seat("a", 3), seat("b", 9), seat("c", 10), seat("d", 0)]
    for _ in range(10):
        random.shuffle(seats)
        chosen = place(seats)

        assert chosen is not None
        assert chosen.pod.name == "b"


def test_a_run_that_goes_alone_takes_an_empty_pod_and_keeps_it() -> None:
    """Rule 17: it goes on no pod that holds a run, and nobody follows it."""
    shared, empty = seat("a", 3), seat("b", 0)
    its_own = replace(seat("c", 1), is_taken_alone=True)

    assert place_alone([shared, its_own]) is None
    assert place_alone([shared, empty, its_own]) == empty
    assert place([its_own]) is None


def test_equals_are_taken_by_name() -> None:
    """The same world gives the same pod."""
    chosen = place([seat("b", 3), seat("a", 3)])

    assert chosen is not None
    assert chosen.pod.name == "a"


@pytest.mark.parametrize(
    "unfit",
    [
        seat("a", 10),
        seat("a", 0, ready=False),
        seat("a", 0, cordoned=True),
        seat("a", 0, deleting=True),
        seat("a", 0, phase="Failed"),
        replace(seat("a", 0), is_closed=True),
        replace(seat("a", 0), mirror=None),
        replace(seat("a", 0), mirror=mirror(version="v2")),
        replace(seat("a", 0), mirror=mirror(draining=True)),
        replace(seat("a", 0), mirror=mirror(refuses=True)),
        replace(seat("a", 0), mirror=mirror(failing_since=NOW)),
        replace(seat("a", 4), mirror=mirror(capacity=4)),
        replace(seat("a", 4), runs_per_pod=4),
    ],
)
def test_a_pod_that_cannot_serve_is_never_taken(unfit: Seat) -> None:
    """Full, not ready, leaving, foreign, silent or refusing: no run goes there."""
    assert place([unfit]) is None
    assert unfit.free == 0
