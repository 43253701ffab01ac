"""Reads one HTTP/1.1 answer after the other from the bytes of a connection. Pure.

Caller: `kube.keepalive`. The other end may be hostile: head, body and number of chunks are bounded, and whatever does
not read as an answer raises.
"""

from typing import Final, NamedTuple

HEAD_LIMIT_BYTES: Final = 64 * 1024
CHUNKS_LIMIT: Final = 500_000  # a body in crumbs costs a microsecond for each
NO_CONTENT: Final = 204


class BrokenAnswer(ValueError):
    """What came is no HTTP/1.1 answer, or ended before its end."""


class Answer(NamedTuple):
    """An answer, whole."""

    status: int
    headers: dict[str, str]  # by lower-case name; the last of each
    body: bytes | None  # None: it is larger than allowed
    is_last: bool  # nothing more may be asked on this connection


class AnswerReader:
    """Takes bytes as they come, and gives an answer when it is whole."""

    def __init__(self, body_limit_bytes: int) -> None:
        self._body_limit = body_limit_bytes
        self._buffer = bytearray()
        self._clear()

    def _clear(self) -> None:
        self._status = 0  # 0: the head is not whole
        self._headers: dict[str, str] = {}
        self._length: int | None = None  # None: chunked, or up to the end of the connection
        self._is_chunked = self._is_trailing = self._is_last = False
        self._chunks: list[bytes] = []
        self._size = 0  # of the chunks

    def feed(self, data: bytes) -> Answer | None:
        """Take bytes; returns the answer once it is whole.

        Raises:
            BrokenAnswer: it is none.
        """
        self._buffer += data
        try:
            while not self._status:
                if not self._cut_head():
                    return None
            return self._read_chunks() if self._is_chunked else self._read_body()
        except ValueError as err:
            raise BrokenAnswer(str(err)) from err

    def end(self) -> Answer | None:
        """The connection ended: the answer that had no other end; None: an answer was cut."""
        if not self._status or self._is_chunked or self._length is not None:
            return None
        return self._finish(bytes(self._buffer))

    def _cut_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end > HEAD_LIMIT_BYTES or (end < 0 and len(self._buffer) > HEAD_LIMIT_BYTES):
            raise ValueError(f"a head of more than {HEAD_LIMIT_BYTES} bytes")
        if end < 0:
            return False
        head = bytes(self._buffer[:end]).decode("latin-1")
        del self._buffer[: end + 4]
        self._take_head(head)
        return True

    def _take_head(self, head: str) -> None:
        first, *lines = head.split("\r\n")
        protocol, _, rest = first.partition(" ")
        if protocol not in {"HTTP/1.1", "HTTP/1.0"} or not rest[:3].isdecimal():
            raise ValueError(f"no HTTP/1.1 answer: {first[:80]!r}")
        status = int(rest[:3])
        if status < 200:  # noqa: PLR2004 - an interim answer; the real one follows
            return
        headers = self._headers
        for line in lines:
            name, colon, value = line.partition(":")
            name, value = name.lower(), value.strip()
            if not colon or (name == "content-length" and headers.get(name, value) != value):
                raise ValueError(f"a bad header: {line[:80]!r}")
            headers[name] = value
        self._status = status
        self._is_chunked = "transfer-encoding" in headers
        if self._is_chunked and headers["transfer-encoding"].lower() != "chunked":
            raise ValueError(f"unknown transfer encoding {headers['transfer-encoding'][:80]!r}")
        length = headers.get("content-length")
        if length is not None and not (length.isascii() and length.isdecimal()):
            raise ValueError(f"a bad length: {length[:80]!r}")
        self._length = 0 if status == NO_CONTENT else int(length) if length is not None else None
        is_closing = protocol == "HTTP/1.0" or "close" in headers.get("connection", "").lower()
        self._is_last = is_closing or (self._length is None and not self._is_chunked)

    def _read_body(self) -> Answer | None:
        length = self._length
        if max(length or 0, len(self._buffer) if length is None else 0) > self._body_limit:
            return self._refuse()
        if length is None or len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return self._finish(body)

    def _read_chunks(self) -> Answer | None:
        buffer = self._buffer
        while (end := buffer.find(b"\r\n")) >= 0:
            if self._is_trailing:
                del buffer[: end + 2]
                if end == 0:
                    return self._finish(b"".join(self._chunks))
                continue
            digits = bytes(buffer[:end]).partition(b";")[0].strip()
            size = int(digits, 16) if digits.isalnum() else -1
            if size < 0 or len(self._chunks) >= CHUNKS_LIMIT:
                raise ValueError(f"a bad chunk, number {len(self._chunks)}")
            if self._size + size > self._body_limit:
                return self._refuse()
            if len(buffer) < end + 2 + size + 2 and size > 0:
                return None
            if size == 0:
                self._is_trailing = True
                del buffer[: end + 2]
                continue
            start, stop = end + 2, end + 2 + size
            if buffer[stop : stop + 2] != b"\r\n":
                raise ValueError("a chunk is longer than it says")
            self._chunks.append(bytes(buffer[start:stop]))
            self._size += size
            del buffer[: stop + 2]
        if len(buffer) > HEAD_LIMIT_BYTES:
            raise ValueError("a chunk without a size")
        return None

    def _refuse(self) -> Answer:
        """The body is too large; what is left of it is not read."""
        self._is_last = True
        return self._finish(None)

    def _finish(self, body: bytes | None) -> Answer:
        is_last = self._is_last or bool(self._buffer)  # more came than was asked for
        answer = Answer(self._status, self._headers, body, is_last)
        self._buffer.clear()
        self._clear()
        return answer
