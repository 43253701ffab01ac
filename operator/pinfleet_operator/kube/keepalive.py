"""A small HTTP/1.1 client for a question and its whole answer: the hot path of writes, offers and polls.

`kube.client` and `wire` use it where the answer is one body; streams stay with aiohttp (decision 0001). It sends every
request once, on a connection that carries one request at a time, and uses a connection again only after an answer that
ended exactly where it said. It follows no redirect, keeps no cookie, asks no proxy and reads no environment.

A call that runs into its time limit or is cancelled takes its connection with it.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self, cast
from urllib.parse import urlsplit

from pinfleet_operator.api.keys import FIELD_MANAGER
from pinfleet_operator.kube.deadlines import Deadlines
from pinfleet_operator.kube.http1 import Answer, AnswerReader, BrokenAnswer

BODY_LIMIT_BYTES: Final = 1024 * 1024 * 1024  # a LIST of everything; a caller that trusts less says so
KEPT_SECONDS: Final = 60.0  # an idle connection older than this may have died on the way without a word
HEADERS: Final = f"Accept: application/json\r\nAccept-Encoding: identity\r\nUser-Agent: {FIELD_MANAGER}\r\n"


@dataclass(frozen=True)
class Origin:
    """Where requests go."""

    host: str  # name or address, IPv6 without brackets
    port: int
    ssl_context: ssl.SSLContext | None = None  # None: plain
    server_name: str | None = None  # name in the certificate, where it is not the host
    prefix: str = ""  # of every path

    @classmethod
    def of(cls, url: str, ssl_context: ssl.SSLContext | None, server_name: str | None = None) -> Self:
        """The origin of a URL; with https and no context, the system's certificates count."""
        parts = urlsplit(url)
        is_secure = parts.scheme == "https"
        context = ssl_context or ssl.create_default_context() if is_secure else None
        return cls(
            host=parts.hostname or "",
            port=parts.port or (443 if is_secure else 80),
            ssl_context=context,
            server_name=server_name if is_secure else None,
            prefix=parts.path.rstrip("/"),
        )

    @property
    def authority(self) -> str:
        """Host and port, as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Keepalive:
    """Kept connections to one origin; the last used is used first."""

    def __init__(
        self, origin: Origin, deadlines: Deadlines, *, connections: int, body_limit_bytes: int = BODY_LIMIT_BYTES
    ) -> None:
        self._origin, self._deadlines, self._body_limit = origin, deadlines, body_limit_bytes
        self._loop = asyncio.get_running_loop()  # kept: Python 3.11 asks the kernel for its pid at each call of this
        self._fixed = f"Host: {origin.authority}\r\n{HEADERS}"
        self._free = asyncio.Semaphore(connections)
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()

    async def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        seconds: float,
        before: Callable[[], None] | None = None,
    ) -> Answer:
        """Send one request, once.

        Args:
            method: in capitals.
            path: quoted, with its query.
            headers: beside the fixed ones and the body's length.
            body: None: there is none.
            seconds: time limit, waiting for a free connection included.
            before: called when a connection is there, right before the request leaves on it; may raise.

        Raises:
            OSError: there is no connection, or it broke, or time is up (`TimeoutError`); the request may have been
                carried out.
            ValueError: likewise for what is no answer (`BrokenAnswer`); or a header holds a line break.
        """
        request, until = self._request(method, path, headers, body), self._loop.time() + seconds
        connection = await self._take(until)
        try:
            if before is not None:
                before()
            answer = await connection.exchange(request, until)
        except BaseException:
            connection.abort()
            raise
        finally:
            self._free.release()
        if answer.is_last:
            connection.abort()
        else:
            self._idle.append(connection)
        return answer

    def close(self) -> None:
        """Drop every connection."""
        self._idle.clear()
        for connection in list(self._open):
            connection.abort()

    def _request(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        length = "" if method == "GET" else f"Content-Length: {len(body or b'')}\r\n"
        head = f"{method} {self._origin.prefix}{path} HTTP/1.1\r\n{self._fixed}{length}{lines}\r\n"
        expected = 2 + self._fixed.count("\n") + bool(length) + len(headers)
        if head.count("\n") != expected or head.count("\r") != expected:
            raise ValueError("a header or path holds a line break")
        return head.encode("latin-1") + (body or b"")

    async def _take(self, until: float) -> "_Connection":
        """A connection for one request; who takes it releases `_free`."""
        if self._free.locked():
            async with asyncio.timeout_at(until):
                await self._free.acquire()
        else:
            await self._free.acquire()  # at once
        try:
            return self._kept() or await self._connect(until)
        except BaseException:
            self._free.release()
            raise

    def _kept(self) -> "_Connection | None":
        now = self._loop.time()
        while self._idle:
            kept = self._idle.pop()
            if kept.is_usable and now - kept.used_at < KEPT_SECONDS:
                return kept
            kept.abort()
        return None

    async def _connect(self, until: float) -> "_Connection":
        origin = self._origin
        async with asyncio.timeout_at(until):
            _, made = await self._loop.create_connection(
                lambda: _Connection(self._loop, self._open, self._deadlines, AnswerReader(self._body_limit)),
                origin.host,
                origin.port,
                ssl=origin.ssl_context,
                server_hostname=origin.server_name,
            )
        return made


class _Connection(asyncio.Protocol):
    """One connection: a request at a time."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connections: "set[_Connection]",
        deadlines: Deadlines,
        reader: AnswerReader,
    ) -> None:
        self.used_at = 0.0  # loop time of the last answer
        self._loop, self._connections, self._deadlines, self._reader = loop, connections, deadlines, reader
        self._transport: asyncio.Transport
        self._waiter: asyncio.Future[Answer] | None = None
        self._is_gone = False

    @property
    def is_usable(self) -> bool:
        """Whether a request may go out on it."""
        return not self._is_gone and not self._transport.is_closing()

    def abort(self) -> None:
        """Drop it at once."""
        self._is_gone = True
        self._connections.discard(self)
        self._transport.abort()

    async def exchange(self, request: bytes, until: float) -> Answer:
        """Send a request and read its answer, up to a loop time."""
        if not self.is_usable:
            raise ConnectionResetError("the connection was closed")
        waiter: asyncio.Future[Answer] = self._loop.create_future()
        self._waiter = waiter
        self._deadlines.set(waiter, until)
        self._transport.write(request)
        try:
            return await waiter
        finally:
            self._deadlines.drop(waiter)
            self._waiter = None
            self.used_at = self._loop.time()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone; an answer without a length ends here."""
        self._is_gone = True
        self._connections.discard(self)
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        answer = self._reader.end() if exc is None else None
        if answer is not None:
            waiter.set_result(answer)
        else:
            waiter.set_exception(exc or ConnectionResetError("the connection was closed before the answer's end"))

    def data_received(self, data: bytes) -> None:
        """A part of an answer."""
        waiter = self._waiter
        if waiter is None or waiter.done():  # nobody asked: what it belongs to cannot be known
            self.abort()
            return
        try:
            answer = self._reader.feed(data)
        except BrokenAnswer as err:
            waiter.set_exception(err)
            return
        if answer is not None:
            waiter.set_result(answer)
