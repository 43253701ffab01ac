"""The scanner sees brackets as a JSON reader does, at any depth."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfleet_operator.api.child import decode_version
from pinfleet_operator.api.nesting import TEXT_DEPTH_LIMIT, cut, decode, nests_deeper

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('[]{}"\\ab', max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[{"\\', max_size=3), inner, max_size=4),
)


def depth(value: object) -> int:
    """Levels of a value, by recursion."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def pruned(value: object, limit: int) -> object:
    """The value with None below so many levels, by recursion."""
    if not isinstance(value, dict | list):
        return value
    if limit == 0:
        return None
    if isinstance(value, dict):
        return {key: pruned(item, limit - 1) for key, item in value.items()}
    return [pruned(item, limit - 1) for item in value]


@given(VALUES, st.integers(0, 4), st.booleans())
def test_it_agrees_with_a_recursive_reader(value: object, limit: int, is_spaced: bool) -> None:  # noqa: FBT001 - given
    """Brackets and quotes in strings and keys do not mislead it."""
    text = json.dumps(value, indent=1 if is_spaced else None).encode()
    assert nests_deeper(text, limit) is (depth(value) > limit)
    assert json.loads(cut(text, limit)) == pruned(value, limit)


@pytest.mark.parametrize("text", [b"[" * 9, b'["', b'["\\', b'"' + b'\\"' * 500_000, b"]" * 9 + b"[", b""])
def test_a_text_that_is_no_json_is_left_as_it_is(text: bytes) -> None:
    """Whoever reads it says so; half a megabyte of open string takes no time."""
    assert cut(text, 3) == text


def test_a_deep_text_is_read_with_null_below_the_limit() -> None:
    """A reader of msgspec's gives up at some hundred levels."""
    text = b'{"a": 1, "b": ' + b"[" * 5_000 + b"]" * 5_000 + b"}"
    with pytest.raises(RecursionError):
        msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    found = decode(msgspec.json.Decoder(dict[str, msgspec.Raw]), text)
    levels = TEXT_DEPTH_LIMIT - 1
    assert bytes(found["b"]) == b"[" * levels + b"null" + b"]" * levels


def test_a_version_whose_template_was_cut_is_not_read() -> None:
    """No pod is made from a part of a template."""
    raw = (
        b'{"metadata": {"uid": "u", "namespace": "ns", "name": "f.v", "resourceVersion": "7",'
        b' "creationTimestamp": "2026-05-01T12:00:00Z"}, "spec": {"fleet": "f", "fleetUID": "u", "id": "v",'
        b' "revision": 1, "specHash": "h", "port": 8080, "runsPerPod": 1, "template": %s}}'
    )
    assert decode_version(raw % b"{}").id == "v"
    with pytest.raises(msgspec.MsgspecError, match=r"spec\.template nests deeper than 200 levels"):
        decode_version(raw % (b"[" * 5_000 + b"]" * 5_000))
