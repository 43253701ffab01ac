"""A relay between the operator and one of its other ends, which sees every request whole and may do it harm.

Ours, on aiohttp: mitmproxy's hooks see a watch only after its headers and cannot answer in the middle of one, and
Toxiproxy knows bytes, not requests. It decides nothing: a `Script` says what is to be done to which request.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp import web
from yarl import URL

from tests.faults.calls import Call

HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host", "upgrade"})
"""Headers of one connection; the others are passed on."""


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Cut(Exception):
    """The connection is to be reset, without an answer."""


class Exchange:
    """One request and what becomes of it."""

    def __init__(self, relay: "Relay", request: web.BaseRequest, body: bytes, call: Call) -> None:
        self.call, self.token = call, request.headers.get("Authorization", "")
        self._relay, self._request, self._body = relay, request, body
        self._response: web.StreamResponse | None = None

    async def forward(self) -> Answer:
        """Have it carried out, once for each call of this."""
        async with self._relay.ask(self._request, self._body) as response:
            return Answer(
                response.status, _kept(response.headers), self._relay.rewrite(self.call, await response.read())
            )

    async def deliver(self, answer: Answer) -> None:
        """Give an answer to the client, before the handler ends; a client that is gone gets none."""
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        response.content_length = len(answer.body)
        with contextlib.suppress(ConnectionError, OSError):
            await response.prepare(self._request)
            await response.write(answer.body)
            await response.write_eof()
        self._response = response

    async def respond(self, serve: Callable[["Exchange"], Awaitable[Answer | None]]) -> web.StreamResponse:
        """Do what is to be done; on `Cut` the connection is reset."""
        try:
            answer = await serve(self)
            if answer is not None:
                await self.deliver(answer)
            if self._response is not None:
                return self._response
        except (Cut, aiohttp.ClientError, OSError):
            pass
        if self._request.transport is not None:
            self._request.transport.abort()
        return web.Response()


class Relay:
    """Listens, and passes requests on."""

    def __init__(
        self,
        *,
        name: Callable[[web.BaseRequest, bytes], Call],
        target: Callable[[web.BaseRequest], str],
        serve: Callable[[Exchange], Awaitable[Answer | None]],
        stream: Callable[[Call, AsyncIterator[bytes]], AsyncIterator[bytes]],
        rewrite: Callable[[Call, bytes], bytes] = lambda _, body: body,
        trusts: ssl.SSLContext | None = None,
    ) -> None:
        """Make one that does not listen yet.

        Args:
            name: what a request is.
            target: the URL, without path, that it goes to; raises `Cut` if there is none.
            serve: what becomes of a request; None: it has delivered the answer itself.
            stream: the lines of a watch as the client gets them.
            rewrite: a body as the client gets it.
            trusts: for TLS to the other end.
        """
        self.rewrite = rewrite
        self._name, self._target, self._serve, self._stream = name, target, serve, stream
        self._trusts = trusts
        self._session: aiohttp.ClientSession
        self._runner: web.ServerRunner

    async def start(self, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> int:
        """Listen; returns the port."""
        connector = aiohttp.TCPConnector(limit=0, ssl=self._trusts or True)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False, read_bufsize=2**24)
        self._session._retry_connection = False  # a request is sent once
        # A client that goes away ends its watch here; every other request goes on without it, as on a real server.
        self._runner = web.ServerRunner(
            web.Server(self._handle, handler_cancellation=True, access_log=None), shutdown_timeout=0
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=tls).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Drop every connection."""
        await self._runner.cleanup()
        await self._session.close()

    def ask(self, request: web.BaseRequest, body: bytes) -> "aiohttp.client._RequestContextManager":
        """The request, sent on."""
        headers = _kept(request.headers)
        limit = aiohttp.ClientTimeout(total=None)
        url = self._target(request) + request.raw_path
        return self._session.request(
            request.method, URL(url, encoded=True), headers=headers, data=body or None, timeout=limit
        )

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        call = self._name(request, body)
        exchange = Exchange(self, request, body, call)
        if call.verb == "watch":
            return await exchange.respond(lambda _: self._watch(exchange, request))
        return await asyncio.shield(asyncio.ensure_future(exchange.respond(self._serve)))

    async def _watch(self, exchange: Exchange, request: web.BaseRequest) -> Answer | None:
        refused = await self._serve(exchange)
        if refused is not None:
            return refused
        async with self.ask(request, b"") as upstream:
            if upstream.status != 200:
                return Answer(upstream.status, _kept(upstream.headers), await upstream.read())
            response = web.StreamResponse(headers=_kept(upstream.headers))
            response.enable_chunked_encoding()
            await response.prepare(request)
            async for line in self._stream(exchange.call, _lines(upstream)):
                await response.write(self.rewrite(exchange.call, line))
            await response.write_eof()
            exchange._response = response
        return None


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    async for line in response.content:
        yield line


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key.lower() not in HOP}
