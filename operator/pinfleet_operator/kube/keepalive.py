"""A small HTTP/1.1 client for a question and its whole answer: the hot path of writes, offers and polls.

`kube.client` and `wire` use it where the answer is one body; streams stay with aiohttp (decision 0004). It sends every
request once, on a connection that carries one request at a time, and reuses a connection only after an answer that
ended exactly where it said. It follows no redirect, keeps no cookie, asks no proxy and reads no environment.

Time limits are the caller's: a call that is cancelled takes its connection with it.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, cast
from urllib.parse import urlsplit

from pinfleet_operator.api.keys import FIELD_MANAGER

HEAD_LIMIT_BYTES: Final = 64 * 1024
BODY_LIMIT_BYTES: Final = 1024 * 1024 * 1024  # a LIST of everything; a caller that trusts less says so
KEPT_SECONDS: Final = 60.0  # an idle connection older than this may have died on the way without a word
OK_WITHOUT_BODY: Final = 204

HEADERS: Final = f"Accept: application/json\r\nAccept-Encoding: identity\r\nUser-Agent: {FIELD_MANAGER}\r\n"


class BrokenAnswer(ValueError):
    """What came is no HTTP/1.1 answer, or ended before its end."""


class Answer(NamedTuple):
    """An answer, whole."""

    status: int
    headers: dict[str, str]  # by lower-case name; the last of each
    body: bytes | None  # None: it is larger than allowed


@dataclass(frozen=True)
class Origin:
    """Where requests go."""

    host: str  # name or address, IPv6 without brackets
    port: int
    ssl_context: ssl.SSLContext | None = None  # None: plain
    server_name: str | None = None  # name in the certificate, where it is not the host
    prefix: str = ""  # of every path

    @classmethod
    def of(cls, url: str, ssl_context: ssl.SSLContext | None, server_name: str | None = None) -> "Origin":
        """The origin of a URL."""
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        secure = (ssl_context or ssl.create_default_context()) if parts.scheme == "https" else None
        return cls(parts.hostname or "", port, secure, server_name, parts.path.rstrip("/"))

    @property
    def authority(self) -> str:
        """For the Host header."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Keepalive:
    """Kept connections to one origin; the last used is used first."""

    def __init__(self, origin: Origin, *, connections: int, body_limit_bytes: int = BODY_LIMIT_BYTES) -> None:
        self._origin, self._body_limit = origin, body_limit_bytes
        self._fixed = f"Host: {origin.authority}\r\n{HEADERS}"
        self._idle: list[_Connection] = []
        self._free = asyncio.Semaphore(connections)
        self._open: set[_Connection] = set()

    async def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        before: Callable[[], None] | None = None,
    ) -> Answer:
        """Send one request, once.

        Args:
            method: in capitals.
            path: quoted, with its query.
            headers: beside the fixed ones and the body's length.
            body: None: there is none.
            before: called when a connection is there, right before the request leaves on it; may raise.

        Raises:
            OSError: there is no connection, or it broke; the request may have been carried out.
            BrokenAnswer: likewise.
        """
        request = self._request(method, path, headers, body)
        async with self._free:
            connection = await self._connection()
            try:
                if before is not None:
                    before()
                answer = await connection.exchange(request)
            except BaseException:
                connection.abort()
                raise
            if connection.is_reusable:
                self._idle.append(connection)
            else:
                connection.abort()
            return answer

    def close(self) -> None:
        """Drop every connection."""
        self._idle.clear()
        for connection in list(self._open):
            connection.abort()

    def _request(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        length = f"Content-Length: {len(body or b'')}\r\n" if body is not None or method != "GET" else ""
        head = f"{method} {self._origin.prefix}{path} HTTP/1.1\r\n{self._fixed}{lines}{length}\r\n"
        if head.count("\n") != len(headers) + self._fixed.count("\n") + bool(length) + 2:
            raise ValueError("a header or path holds a line break")
        return head.encode("latin-1") + (body or b"")

    async def _connection(self) -> "_Connection":
        now = asyncio.get_running_loop().time()
        while self._idle:
            kept = self._idle.pop()
            if kept.is_reusable and now - kept.used_at < KEPT_SECONDS:
                return kept
            kept.abort()
        origin = self._origin
        name = origin.server_name if origin.ssl_context is not None else None
        _, made = await asyncio.get_running_loop().create_connection(
            lambda: _Connection(self._open, self._body_limit),
            origin.host,
            origin.port,
            ssl=origin.ssl_context,
            server_hostname=name,
        )
        return made


class _Connection(asyncio.Protocol):
    """One connection: a request at a time, and the reading of its answer."""

    def __init__(self, connections: "set[_Connection]", body_limit: int) -> None:
        self._connections, self._body_limit = connections, body_limit
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[Answer] | None = None
        self._buffer = bytearray()
        self._head: tuple[int, dict[str, str]] | None = None  # of the answer whose body is being read
        self._chunks: list[bytes] = []
        self._size = 0  # of the chunks
        self._length: int | None = None  # None: chunked, or up to the end of the connection
        self._is_chunked = self._is_trailing = False
        self._is_kept = True
        self.used_at = 0.0  # loop time of the last answer

    @property
    def is_reusable(self) -> bool:
        """Whether another request may go out on it."""
        return self._is_kept and self._waiter is None and not self._transport.is_closing()

    def abort(self) -> None:
        """Drop it at once."""
        self._is_kept = False
        self._connections.discard(self)
        self._transport.abort()

    async def exchange(self, request: bytes) -> Answer:
        """Send a request and read its answer."""
        if not self.is_reusable:
            raise ConnectionResetError("the connection was closed")
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        self._transport.write(request)
        try:
            answer = await self._waiter
        finally:
            self._waiter = None
        self.used_at = loop.time()
        return answer

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone; an answer without a length ends here."""
        self._is_kept = False
        self._connections.discard(self)
        if self._waiter is None or self._waiter.done():
            return
        if exc is None and self._head is not None and self._length is None and not self._is_chunked:
            self._finish(bytes(self._buffer))
        else:
            self._waiter.set_exception(exc or ConnectionResetError("the connection was closed before the answer's end"))

    def data_received(self, data: bytes) -> None:
        """A part of an answer."""
        if self._waiter is None or self._waiter.done():  # nobody asked: what it belongs to cannot be known
            self.abort()
            return
        self._buffer += data
        try:
            self._read()
        except (ValueError, UnicodeError) as err:
            self._is_kept = False
            if not self._waiter.done():
                self._waiter.set_exception(BrokenAnswer(str(err)))

    # Reading

    def _read(self) -> None:
        while self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end > HEAD_LIMIT_BYTES or (end < 0 and len(self._buffer) > HEAD_LIMIT_BYTES):
                raise ValueError(f"a head of more than {HEAD_LIMIT_BYTES} bytes")
            if end < 0:
                return
            head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            self._take_head(head)
        if self._is_chunked:
            self._read_chunks()
        elif self._length is None or self._length > self._body_limit:
            if self._length is not None or len(self._buffer) > self._body_limit:
                self._refuse()
        elif len(self._buffer) >= self._length:
            self._finish(bytes(self._buffer[: self._length]), rest=len(self._buffer) - self._length)

    def _take_head(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        protocol, _, rest = first.partition(" ")
        status = int(rest[:3])
        if not protocol.startswith("HTTP/1.") or not 100 <= status <= 999:  # noqa: PLR2004 - three digits
            raise ValueError(f"no HTTP/1.1 answer: {first[:80]!r}")
        if status < 200:  # noqa: PLR2004 - an interim answer; the real one follows
            return
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or (name.lower() == "content-length" and headers.get("content-length", value.strip()) != value.strip()):
                raise ValueError(f"a bad header: {line[:80]!r}")
            headers[name.lower()] = value.strip()
        self._head = (status, headers)
        self._is_chunked = "transfer-encoding" in headers
        if self._is_chunked and headers["transfer-encoding"].lower() != "chunked":
            raise ValueError(f"unknown transfer encoding {headers['transfer-encoding'][:80]!r}")
        length = headers.get("content-length")
        if length is not None and not (length.isascii() and length.isdigit()):
            raise ValueError(f"a bad length: {length[:80]!r}")
        self._length = 0 if status == OK_WITHOUT_BODY else int(length) if length is not None else None
        if protocol != "HTTP/1.1" or "close" in headers.get("connection", "").lower():
            self._is_kept = False
        if self._length is None and not self._is_chunked:
            self._is_kept = False

    def _read_chunks(self) -> None:
        buffer = self._buffer
        while True:
            end = buffer.find(b"\r\n")
            if end < 0:
                if len(buffer) > HEAD_LIMIT_BYTES:
                    raise ValueError("a chunk without a size")
                return
            if self._is_trailing:
                is_last = end == 0
                del buffer[: end + 2]
                if is_last:
                    self._finish(b"".join(self._chunks), rest=len(buffer))
                    return
                continue
            size = int(bytes(buffer[:end]).partition(b";")[0], 16)
            if size < 0 or self._size + size > self._body_limit:
                self._refuse()
                return
            if size == 0:
                self._is_trailing = True
                del buffer[: end + 2]
                continue
            if len(buffer) < end + 2 + size + 2:
                return
            self._chunks.append(bytes(buffer[end + 2 : end + 2 + size]))
            self._size += size
            del buffer[: end + 2 + size + 2]

    def _refuse(self) -> None:
        """The body is too large: what is left of it is not read."""
        self._is_kept = False
        self._finish(None)

    def _finish(self, body: bytes | None, *, rest: int = 0) -> None:
        head, self._head = self._head, None
        if rest:  # more than was asked for
            self._is_kept = False
        self._buffer.clear()
        self._chunks, self._size, self._is_trailing = [], 0, False
        if head is not None and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(Answer(*head, body))
