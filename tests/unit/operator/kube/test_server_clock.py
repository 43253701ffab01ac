"""The API server's clock is bounded by its Date header, and the bounds close in."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfleet_operator.kube.server_clock import ServerClock

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BOOT = 1000.0  # CLOCK_BOOTTIME at noon
ZERO = NOON.timestamp() - BOOT


def ask(clock: ServerClock, at: float, offset: float, *, took: float = 0.01) -> None:
    """One answer: the server's clock is `offset` ahead, and is read in the middle of the call."""
    served = (NOON + timedelta(seconds=at + took / 2 + offset)).replace(microsecond=0)
    clock.hear(format_datetime(served, usegmt=True), began=BOOT + at, ended=BOOT + at + took)


def ahead(clock: ServerClock, at: float = 0) -> float:
    """Seconds by which the server's clock is taken to be ahead of noon, and the time since."""
    return (clock.at(BOOT + at) - NOON).total_seconds() - at


def a_clock() -> ServerClock:
    """One that heard nothing yet, made at noon."""
    return ServerClock(NOON, BOOT)


def test_before_the_first_answer_our_own_clock_stands_in() -> None:
    """It is read once, and goes on by CLOCK_BOOTTIME."""
    assert ahead(a_clock(), at=10) == 0


@given(
    offset=st.floats(-3600, 3600),
    times=st.lists(st.tuples(st.floats(0.01, 60), st.floats(0.001, 2)), min_size=1, max_size=50),
)
def test_the_offset_stays_within_its_bounds(offset: float, times: list[tuple[float, float]]) -> None:
    """Whatever the calls' moments and durations, the true offset is between the bounds."""
    clock, at = a_clock(), 0.0
    for gap, took in times:
        at += gap + took
        ask(clock, at, offset, took=took)
        assert clock.low - 1e-3 <= ZERO + offset <= clock.high + 1e-3


def test_many_answers_come_closer_than_the_headers_second() -> None:
    """Fifty answers at different fractions of a second place the offset within 50 ms."""
    clock = a_clock()
    for n in range(50):
        ask(clock, n * 1.37, 5.3)
    assert ahead(clock) == pytest.approx(5.3, abs=0.05)


@pytest.mark.case("runs: clocks jump, both ways")
def test_a_clock_that_is_set_is_followed_at_once() -> None:
    """Bounds that contradict a new answer are dropped for it."""
    clock = a_clock()
    for n in range(50):
        ask(clock, n * 1.37, 0.0)
    ask(clock, 100, -30.0)
    assert ahead(clock) == pytest.approx(-30, abs=0.6)


@pytest.mark.parametrize("header", ["", "yesterday", "Thu, 99 Foo 2026"])
def test_a_header_that_is_no_date_changes_nothing(header: str) -> None:
    """A proxy's nonsense is not believed."""
    clock = a_clock()
    ask(clock, 0, 7.0)
    before = ahead(clock)
    clock.hear(header, began=2000, ended=2000)
    assert ahead(clock) == before
