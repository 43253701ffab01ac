"""Values in the journal: what comes back is what went in, or the field is named."""

import dataclasses
import enum
import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfleet import values
from pinfleet.errors import NotStorable

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | st.binary()
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.datetimes(timezones=st.none() | st.just(UTC) | st.just(timezone(timedelta(hours=5, minutes=30))))
)
PLAIN = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT | st.sampled_from(["$", "v"]), inner), max_leaves=20
)


@given(PLAIN)
def test_round_trip(value: object) -> None:
    """Any plain value comes back equal, without a declared type."""
    assert values.decode(values.encode(value, "s"), Any, "s") == value


@given(PLAIN)
def test_canonical(value: object) -> None:
    """Encoding what was decoded gives the same text: a hash of it is an identity."""
    text = values.encode(value, "s")
    assert values.encode(values.decode(text, Any, "s"), "s") == text


@given(st.dictionaries(TEXT, st.integers(0, 9)))
def test_order_does_not_matter(value: dict[str, int]) -> None:
    """The order in which a mapping was filled is no part of it."""
    turned = dict(reversed(value.items()))
    assert values.encode(value, "s") == values.encode(turned, "s")


class Colour(enum.Enum):
    """An enumeration."""

    RED = "red"


@dataclasses.dataclass(frozen=True)
class Item:
    """A dataclass."""

    price: Decimal
    colour: Colour
    when: date
    names: tuple[str, ...] = ()


class Struct(msgspec.Struct, rename="camel"):
    """A msgspec value."""

    item_id: UUID
    item: Item


class Model(pydantic.BaseModel):
    """A pydantic value."""

    id: UUID
    price: Decimal
    inner: dict[str, datetime]


ITEM = Item(Decimal("1.10"), Colour.RED, date(2026, 1, 2), ("a", "b"))
UID = UUID(int=5)


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        (ITEM, Item),
        ([ITEM], list[Item]),
        ({"a": ITEM}, dict[str, Item]),
        (Struct(UID, ITEM), Struct),
        (Model(id=UID, price=Decimal(1), inner={"x": datetime(2026, 1, 1, tzinfo=UTC)}), Model),
        ([Model(id=UID, price=Decimal(1), inner={})], list[Model]),
        (None, Item | None),
        (ITEM, Item | None),
        ((1, "a"), tuple[int, str]),
        (frozenset({"b", "a"}), frozenset[str]),
        (timedelta(days=3), timedelta),
        (b"\x00\xff", bytes),
        (1, float),
        (None, None),
    ],
)
def test_declared_types(value: object, declared: Any) -> None:
    """Dataclass, msgspec and pydantic values come back by the declared type."""
    assert values.decode(values.encode(value, "s"), declared, "s") == value


def test_data_never_names_code() -> None:
    """What is stored holds fields and tags of scalars, no module and no class."""
    text = values.encode({"item": ITEM, "struct": Struct(UID, ITEM)}, "s").decode()
    assert "Item" not in text
    assert "test_values" not in text


def test_unknown_tag() -> None:
    """A tag that this SDK does not know is refused, not guessed."""
    with pytest.raises(ValueError, match="unknown tag 'object'"):
        values.decode(b'{"$":"object","v":"os.system"}', Any, "s")


def nested(depth: int) -> object:
    """Return lists in lists."""
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


def endless() -> object:
    """Return a list that holds itself."""
    value: list[object] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "field", "why"),
    [
        ({"a": [1, float("nan")]}, "result.a[1]", "nan is not JSON"),
        (float("-inf"), "result", "-inf is not JSON"),
        ({"a": {1: 2}}, "result.a", "key 1 is int"),
        ({None: 2}, "result", "key None is NoneType"),
        (["\ud800"], "result[0]", "lone surrogate"),
        ({"\udfff": 1}, "result.<key>", "lone surrogate"),
        (2**63, "result", "64 bits"),
        (nested(200), "result" + "[0]" * 101, "deeper than 100"),
        (endless(), "result" + "[0]" * 101, "holds itself"),
        ({"x": object()}, "result.x", "builtins.object is neither"),
        ([Item], "result[0]", "the class Item itself"),
        (lambda: 1, "result", "function"),
        (1j, "result", "complex"),
        ({"x": ITEM, "y": {"z": {1, object}}}, "result.y.z{}", "the class object"),
    ],
)
def test_not_storable(value: object, field: str, why: str) -> None:
    """What JSON cannot hold is refused, naming the step, the field and the reason."""
    with pytest.raises(NotStorable) as caught:
        values.encode(value, "charge")
    assert (caught.value.step, caught.value.field) == ("charge", field)
    assert why in caught.value.why


@pytest.mark.parametrize(("value", "declared"), [({"a": "x"}, dict[str, int]), ("x", Item), ([1], int), ("x", Colour)])
def test_result_of_another_type(value: object, declared: Any) -> None:
    """A value that is not what the step declares is refused when it is recorded, not at a replay weeks later."""
    with pytest.raises(NotStorable, match="declared"):
        values.decode(values.encode(value, "s"), declared, "s")


def test_untagged() -> None:
    """A run's result is for other readers: scalars are bare text."""
    text = values.encode({"at": datetime(2026, 1, 1, tzinfo=UTC), "$": Decimal("1.5")}, "main", tagged=False)
    assert json.loads(text) == {"at": "2026-01-01T00:00:00+00:00", "$": "1.5"}


def test_arguments() -> None:
    """Arguments are canonical JSON up to 4 KiB, and beyond it a hash for each."""
    small = values.arguments({"b": 1, "a": Decimal(2)}, "s")
    assert small == b'{"a":{"$":"decimal","v":"2"},"b":1}'
    large = json.loads(values.arguments({"a": "x" * 5_000, "b": 1}, "s"))
    assert {name: value["$"] for name, value in large.items()} == {"a": "sha256", "b": "sha256"}
    assert large != json.loads(values.arguments({"a": "x" * 5_001, "b": 1}, "s"))
    with pytest.raises(NotStorable) as caught:
        values.arguments({"order": {"id": object()}}, "s")
    assert caught.value.field == "order.id"
