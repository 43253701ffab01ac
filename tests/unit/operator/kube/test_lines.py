"""Lines come out whole, however the stream was cut into chunks."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfleet_operator.kube import lines as module
from pinfleet_operator.kube.lines import split_lines


async def chunked(data: bytes, cuts: list[int]) -> AsyncIterator[bytes]:
    """The data, cut at these places."""
    last = 0
    for cut in sorted(min(cut, len(data)) for cut in cuts):
        yield data[last:cut]
        last = cut
    yield data[last:]


@given(lines=st.lists(st.binary().map(lambda b: b.replace(b"\n", b""))), cuts=st.lists(st.integers(0, 200)))
async def test_any_cut_gives_the_same_lines(lines: list[bytes], cuts: list[int]) -> None:
    """The chunks of the network have no meaning."""
    data = b"".join(line + b"\n" for line in lines)
    assert [line async for line in split_lines(chunked(data, cuts))] == lines


async def test_an_end_within_a_line_is_an_error() -> None:
    """Half a line is not given out."""
    with pytest.raises(ValueError, match="ended within a line"):
        [line async for line in split_lines(chunked(b"a\nb", []))]


async def test_a_line_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded."""
    monkeypatch.setattr(module, "LINE_LIMIT_BYTES", 100)
    with pytest.raises(ValueError, match="more than 100 bytes"):
        [line async for line in split_lines(chunked(b"x" * 300, [50, 120, 200]))]
