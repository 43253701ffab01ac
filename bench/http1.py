"""The least HTTP/1.1 client that can be written in asyncio: the bench's rival, and its hands.

One request per connection at a time, kept alive; answers with a length or in chunks. It forgives nothing: whatever is
not as expected raises. The operator's client has limits, guards and errors; this one is what those are held against.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Self, cast

import msgspec


class Target(msgspec.Struct, frozen=True):
    """A server and an account."""

    host: str
    port: int
    ca: str = ""  # file; empty: no TLS
    token: str = ""  # bearer; empty: the certificate speaks
    certificate: str = ""  # file
    key: str = ""  # file

    def ssl_context(self) -> ssl.SSLContext | None:
        """TLS to it; None: it speaks plainly."""
        if not self.ca:
            return None
        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key)
        return context

    def head(self, method: str, path: str, content_type: str, size: int) -> bytes:
        """A request's first lines."""
        authorization = f"Authorization: Bearer {self.token}\r\n" if self.token else ""
        return (
            f"{method} {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n{authorization}Accept: application/json\r\n"
            f"User-Agent: bench\r\nContent-Type: {content_type}\r\nContent-Length: {size}\r\n\r\n"
        ).encode()


class Job(msgspec.Struct, frozen=True):
    """Requests for `bench.bare`."""

    target: Target
    method: str
    content_type: str
    connections: int
    requests: list[tuple[str, str]]  # path, body


class Outcome(msgspec.Struct, frozen=True):
    """What became of a job."""

    seconds: float
    cpu_seconds: float  # user and system, of the whole process, while it wrote
    statuses: dict[str, int]

    @property
    def ok(self) -> int:
        """Answers 2xx."""
        return sum(n for status, n in self.statuses.items() if status.startswith("2"))


@dataclass(slots=True)
class Answer:
    """An answer, whole."""

    status: int
    body: bytes


class Connection(asyncio.Protocol):
    """One connection, kept alive."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self._data = b""
        self._waiter: asyncio.Future[Answer] | None = None

    @classmethod
    async def open(cls, target: Target, context: ssl.SSLContext | None) -> Self:
        """Connect."""
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(cls, target.host, target.port, ssl=context)
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail whoever waits."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(exc or ConnectionError("closed by the server"))

    def data_received(self, data: bytes) -> None:
        """Collect an answer."""
        self._data = self._data + data if self._data else data
        answer = parse(self._data)
        if answer is not None and self._waiter is not None:
            self._data = b""
            waiter, self._waiter = self._waiter, None
            waiter.set_result(answer)

    async def ask(self, request: bytes) -> Answer:
        """Send a request; returns its answer."""
        self._waiter = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self._waiter


def parse(data: bytes) -> Answer | None:
    """An answer's status and body; None: it is not whole yet."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = data[:end].lower()
    at = head.find(b"content-length:")
    if at >= 0:
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        body = data[end + 4 :]
        return Answer(int(head[9:12]), body) if len(body) >= length else None
    if not data.endswith(b"\r\n0\r\n\r\n"):
        return None
    parts, at = list[bytes](), end + 4
    while (line := data.find(b"\r\n", at)) >= 0 and (size := int(data[at:line], 16)):
        parts.append(data[line + 2 : line + 2 + size])
        at = line + 2 + size + 2
    return Answer(int(head[9:12]), b"".join(parts))


async def watch(target: Target, path: str) -> AsyncGenerator[bytes, None]:
    """The lines of a watch; the API server sends each in chunks of its own."""
    reader, writer = await asyncio.open_connection(target.host, target.port, ssl=target.ssl_context(), limit=2**24)
    writer.write(target.head("GET", path, "application/json", 0))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    pending = b""
    while size := int(await reader.readline(), 16):
        chunk = await reader.readexactly(size + 2)
        *lines, pending = (pending + chunk[:-2]).split(b"\n")
        for line in lines:
            yield line


def write_job(file: Path, job: Job) -> None:
    """Write a job for `bench.bare`."""
    file.write_bytes(msgspec.json.encode(job))
