"""What a pod lists as a run's waits, as its object and the store take it."""

from datetime import UTC, datetime

import msgspec
import pytest

from pinfleet.wire import NOTHING_SHOWN, SHOWN_LIMIT, Wait
from pinfleet_operator.runs.waits import SHOWN_TOTAL_LIMIT, bare, cut

HASH = "ab" * 32


def approval(number: int = 0, shown: bytes = b'{"cents":9900}', hash_: str = HASH) -> Wait:
    """One approval that is waited for."""
    return Wait(id=f"w{number}", kind="Approval", name="refund", hash=hash_, shown=msgspec.Raw(shown), who="finance")


def test_what_an_approval_shows_is_written() -> None:
    """An approval's hash, what it shows and who may decide go into the object as the pod lists them."""
    assert cut((approval(),)) == (approval(),)


@pytest.mark.parametrize(
    "shown",
    [
        b"[1]",
        b"null",
        b'{"a":"\xff"}',
        b'{"a":',
        b'{"a":"' + b"x" * SHOWN_LIMIT + b'"}',
        b'{"a":' * 300 + b"1" + b"}" * 300,
    ],
)
def test_what_cannot_be_shown_is_left_out(shown: bytes) -> None:
    """What is no small JSON object is not shown; the approval itself stands."""
    assert cut((approval(shown=shown),)) == (approval(shown=b"{}"),)


def test_all_that_is_shown_is_bounded() -> None:
    """Many approvals together show no more than an object has room for; those without room keep their hash."""
    filler = b'{"a":"' + b"x" * (SHOWN_LIMIT - 10) + b'"}'
    found = cut(tuple(approval(n, filler) for n in range(200)))
    shown = sum(len(bytes(wait.shown)) for wait in found if wait.shown != NOTHING_SHOWN)
    assert SHOWN_TOTAL_LIMIT - SHOWN_LIMIT < shown <= SHOWN_TOTAL_LIMIT
    assert {wait.hash for wait in found} == {HASH}


def test_a_hash_that_is_none_is_left_out() -> None:
    """A foreign pod's word that is no hash would be refused by the schema, and the whole write with it."""
    assert cut((approval(hash_="please"),))[0].hash == ""


def test_the_record_compares_with_a_listing() -> None:
    """A listing in the pod's order, with what it shows, equals the record of the object that it was written to."""
    late = Wait(id="a", kind="Timer", until=datetime(2026, 1, 2, tzinfo=UTC))
    early = Wait(id="b", kind="Timer", until=datetime(2026, 1, 1, tzinfo=UTC))
    assert bare((late, early, approval())) == (
        early,
        late,
        msgspec.structs.replace(approval(), shown=msgspec.Raw(b"{}")),
    )
