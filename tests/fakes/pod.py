"""An agent pod's server, as far as the operator's calls go: it notes them and answers as told."""

from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

Json = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """A call that came."""

    line: str  # method and path with query
    headers: dict[str, str]
    body: bytes
    peer: tuple[str, int]  # the caller's address: tells connections apart


@dataclass
class FakePod:
    """The server; an async context manager."""

    uid: str = "pod-1"
    status: int = 200
    answer: Json | bytes = field(default_factory=dict)  # fields over the identity; or a whole body
    seen: list[Seen] = field(default_factory=list)
    cut: bool = False  # close the connection instead of answering
    host: str = "127.0.0.1"
    port: int = 0

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        peer = request.transport.get_extra_info("peername")[:2]
        line = f"{request.method} {request.raw_path}"
        self.seen.append(Seen(line, dict(request.headers), await request.read(), peer))
        if self.cut:
            request.transport.abort()
        if isinstance(self.answer, bytes):
            return web.Response(status=self.status, body=self.answer)
        identity = {"protocol": 1, "version": "v1", "podUID": self.uid, "boot": "b1"}
        return web.json_response({**identity, **self.answer}, status=self.status)
