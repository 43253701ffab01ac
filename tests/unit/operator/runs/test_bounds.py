"""The limits that a run gets: the fleet's, or less."""

import msgspec
import pytest

from pinfleet_operator.api.run import Limits, RequestedLimits
from pinfleet_operator.runs.judge.bounds import merge

FLEET = Limits(max_steps=10, active_seconds=20, deadline_seconds=30, max_attempts=3)


@pytest.mark.parametrize(
    ("fleet", "asked", "stamped"),
    [
        (None, None, None),
        (None, 5, 5),  # any number is less than none
        (100, None, 100),
        (100, 100, 100),
        (100, 5, 5),
        (100, 101, "refused"),
    ],
)
@pytest.mark.case("runs: limits above the fleet's")
def test_a_run_may_only_lower_the_tokens(fleet: int | None, asked: int | None, stamped: int | str | None) -> None:
    """No token limit is more than any; a run that asks for more than the fleet allows gets none at all."""
    merged = merge(msgspec.structs.replace(FLEET, max_tokens=fleet), RequestedLimits(max_tokens=asked))
    assert (merged.max_tokens if merged is not None else "refused") == stamped


def test_no_token_limit_is_no_field() -> None:
    """Limits without tokens are written as before: the API server takes no null."""
    assert "maxTokens" not in msgspec.to_builtins(FLEET.stamped)
