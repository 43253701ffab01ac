"""What may still be on its way to the API server: our own assignments, and a former leader's."""

from datetime import UTC, datetime, timedelta

import pytest

from pinfleet_operator.store.flights import LATE_SECONDS, Flights, Term

BEGAN = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("resource_version", "seconds", "expected"),
    [(100, 1, True), (101, 1, False), (100, LATE_SECONDS + 1, False)],
    ids=["unchanged since the term began", "changed since", "long ago"],
)
def test_a_former_leaders_pin_may_arrive_as_long_as_nobody_touched_its_run(
    resource_version: int, seconds: float, *, expected: bool
) -> None:
    """Rule 7: it carries the resourceVersion that the former leader knew, and no request lives longer than a minute."""
    flights = Flights(lambda _: None)
    assert not flights.may_be_a_former_leaders(resource_version, BEGAN)
    flights.term = Term(100, BEGAN)
    assert flights.may_be_a_former_leaders(resource_version, BEGAN + timedelta(seconds=seconds)) is expected
