"""An answer is read the same however its bytes arrive, and what is no answer raises."""

import pytest

from pinfleet_operator.kube.http1 import HEAD_LIMIT_BYTES, Answer, AnswerReader, BrokenAnswer

LIMIT = 100
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nDate: now\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nTrailer: x\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH


def read(*parts: bytes) -> Answer | None:
    """The answer after the last part; none came before."""
    reader, answer = AnswerReader(LIMIT), None
    for part in parts:
        assert answer is None
        answer = reader.feed(part)
    return answer


@pytest.mark.parametrize("text", [LENGTH, CHUNKED, INTERIM])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_an_answer_may_come_in_pieces_of_any_size(text: bytes, size: int) -> None:
    """The network cuts where it wants."""
    answer = read(*(text[at : at + size] for at in range(0, len(text), size)))
    assert answer is not None
    assert (answer.status, answer.body, answer.is_last) == (200, b"hello", False)


def test_a_204_has_no_body() -> None:
    """Whatever its headers say."""
    assert read(EMPTY) == Answer(204, {}, b"", is_last=False)


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        LENGTH + b"more than was asked for",
        LENGTH + LENGTH,
    ],
)
def test_after_an_answer_that_ends_its_connection_nothing_is_asked_on_it(text: bytes) -> None:
    """It says so, or more came: an answer to the next question might be somebody else's."""
    answer = read(text)
    assert answer is not None
    assert (answer.body, answer.is_last) == (b"hello", True)


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    """As HTTP/1.0 servers do."""
    reader = AnswerReader(LIMIT)
    assert reader.feed(b"HTTP/1.1 200 OK\r\n\r\nhel") is None
    assert reader.feed(b"lo") is None
    assert reader.end() == Answer(200, {}, b"hello", is_last=True)


@pytest.mark.parametrize("text", [LENGTH[:-1], CHUNKED[:-3], LENGTH[:20], b""])
def test_an_answer_that_is_cut_is_none(text: bytes) -> None:
    """Half a body is no body."""
    reader = AnswerReader(LIMIT)
    assert reader.feed(text) is None
    assert reader.end() is None


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 101,
    ],
)
def test_a_body_that_is_too_large_is_not_read(text: bytes) -> None:
    """Its status is told, and its connection is not used again."""
    answer = read(text)
    assert answer is not None
    assert (answer.status, answer.body, answer.is_last) == (200, None, True)


@pytest.mark.parametrize(
    "text",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhelXX0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_LIMIT_BYTES,
    ],
)
def test_what_is_no_answer_raises(text: bytes) -> None:
    """A stranger at the address, a proxy's nonsense, an attack."""
    with pytest.raises(BrokenAnswer):
        read(text)
