"""A fake kube-apiserver over HTTP: `memory.Memory` behind the API's paths, with injected faults.

Not served: SSA, generateName, admission, schema validation, subresources but status.
"""

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import Any, Final, Self

from aiohttp import web

from pinfleet_operator.api.keys import API_VERSION, GROUP
from pinfleet_operator.kube.credentials import Endpoint, FixedToken
from tests.fakes.faults import Answer, Break, Cut, Fault, Injected, Silence, When
from tests.fakes.memory import Json, Memory, RefusedError, Scope

ENDS_SNAPSHOT: Final = {"k8s.io/initial-events-end": "true"}
TOKEN: Final = "fake"  # noqa: S105 - of a fake


@dataclass(frozen=True)
class Path:
    """What a URL names."""

    group: str  # empty: the core group
    plural: str
    namespace: str | None
    name: str | None
    subresource: str | None


class FakeApiServer:
    """The server; an async context manager."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.requests: list[str] = []  # "GET /api/v1/pods?watch=true", in order of arrival
        self.tokens = FixedToken(TOKEN)
        self.accepted_token = TOKEN
        self._arrived = asyncio.Event()
        self._bookmarks = 0  # asked for so far
        self._faults: list[Injected] = []
        self._closed = asyncio.Event()
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2, handler_cancellation=True, access_log=None)
        self._port = 0

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closed.set()
        await self._runner.cleanup()

    @property
    def endpoint(self) -> Endpoint:
        """Where and as whom to call it."""
        return Endpoint(f"http://127.0.0.1:{self._port}", None, self.tokens)

    def inject(self, fault: Fault, when: When, *, times: int = 1) -> None:
        """Let the next requests of a kind go wrong."""
        self._faults.append(Injected(fault, when, times))

    def send_bookmarks(self) -> None:
        """Send one to every watcher."""
        self._bookmarks += 1
        self.memory.wake()

    async def asked(self, times: int) -> None:
        """Return once so many requests have come."""
        async with asyncio.timeout(10):
            while len(self.requests) < times:
                self._arrived.clear()
                await self._arrived.wait()

    # Requests

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path_qs}")
        self._arrived.set()
        if request.headers.get("Authorization") != f"Bearer {self.accepted_token}":
            return _status(401, "Unauthorized", "Unauthorized")
        fault = self._strike(request)
        if isinstance(fault, Answer):
            return _injected(fault)
        if isinstance(fault, Silence | Cut):
            return await self._lose(request, fault)
        if not _is_served(request.path):
            return web.Response(status=404, text="404 page not found")
        try:
            path = _parse(request.path)
            if request.query.get("watch") == "true":
                return await _Stream(self, request, path, fault).run()
            return web.json_response(await self._serve(request, path), status=201 if request.method == "POST" else 200)
        except RefusedError as err:
            return _status(err.code, err.reason, str(err), about=_parse(request.path))

    def _strike(self, request: web.Request) -> Fault | None:
        for injected in self._faults:
            if injected.times and injected.when(request):
                injected.times -= 1
                return injected.fault
        return None

    async def _lose(self, request: web.Request, fault: Silence | Cut) -> web.StreamResponse:
        if fault.is_done:
            await self._serve(request, _parse(request.path))
        if isinstance(fault, Silence):
            await self._closed.wait()
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def _serve(self, request: web.Request, path: Path) -> Json:
        namespace = path.namespace or ""
        raw = await request.read()
        body = json.loads(raw) if raw else {}
        match request.method, path.name:
            case "GET", None:
                return self._list(request, path)
            case "GET", str(name):
                return self.memory.get(path.plural, namespace, name)
            case "POST", None:
                dry_run = request.query.get("dryRun") == "All"
                return self.memory.create(path.plural, namespace, body, dry_run=dry_run)
            case "PATCH", str(name):
                kind = list if request.content_type == "application/json-patch+json" else dict
                if "patch+json" not in request.content_type or not isinstance(body, kind):
                    raise RefusedError(415, "UnsupportedMediaType", request.content_type)
                status = path.subresource == "status"
                return self.memory.patch(path.plural, namespace, name, body, status=status)
            case "DELETE", str(name):
                return self.memory.delete(path.plural, namespace, name, body)
            case _:
                raise RefusedError(405, "MethodNotAllowed", request.method)

    def _list(self, request: web.Request, path: Path) -> Json:
        query = request.query
        scope = scope_of(request, path)
        start, at = ("", ""), None
        if "continue" in query:
            version, *key = json.loads(query["continue"])
            start, at = (key[0], key[1]), int(version)
        elif query.get("resourceVersionMatch") == "Exact":
            at = int(query["resourceVersion"])
        items = [item for item in self.memory.list(scope, at) if _key(item) > start]
        meta: Json = {"resourceVersion": str(at if at is not None else self.memory.resource_version)}
        limit = int(query.get("limit", "0"))
        if limit and len(items) > limit:
            items = items[:limit]
            meta["continue"] = json.dumps([meta["resourceVersion"], *_key(items[-1])])
        return {"kind": "List", "apiVersion": "v1", "metadata": meta, "items": items}


class _Stream:
    """One watch."""

    def __init__(self, server: FakeApiServer, request: web.Request, path: Path, fault: Fault | None) -> None:
        self._server, self._request, self._scope = server, request, scope_of(request, path)
        self._break = fault if isinstance(fault, Break) else None
        self._response = web.StreamResponse(headers={"Content-Type": "application/json"})
        self._lines = 0
        self._bookmarks = server._bookmarks

    async def run(self) -> web.StreamResponse:
        """Write events until the stream is over."""
        memory, query = self._server.memory, self._request.query
        at = memory.resource_version
        initial: list[Json] = []
        if query.get("sendInitialEvents") == "true" or query.get("resourceVersion", "0") in {"", "0"}:
            initial = [{"type": "ADDED", "object": item} for item in memory.list(self._scope)]
        else:
            at = int(query["resourceVersion"])
            self._scope.check()
        await self._response.prepare(self._request)
        if at < memory.compacted:
            initial = [expired(at)]
        elif query.get("sendInitialEvents") == "true":
            initial.append(bookmark(at, ENDS_SNAPSHOT))
        for event in initial:
            if await self._write(event):
                return self._response
        if not initial or initial[-1]["type"] != "ERROR":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(float(query.get("timeoutSeconds", "600"))):
                    await self._follow(at)
        return self._response

    async def _follow(self, position: int) -> None:
        server = self._server
        while not server._closed.is_set():
            moved, seen = server.memory.moved, server.memory.resource_version
            if position < server.memory.compacted:
                await self._write(expired(position))
                return
            for _, event in list(server.memory.events(self._scope, position)):
                if await self._write(event):
                    return
            position = seen
            if self._bookmarks != server._bookmarks:
                self._bookmarks = server._bookmarks
                if await self._write(bookmark(server.memory.resource_version)):
                    return
            if await self._broken():
                return
            await moved.wait()

    async def _write(self, event: Json) -> bool:
        """Write one event; whether the stream is over."""
        if await self._broken():
            return True
        await self._response.write(json.dumps(event).encode() + b"\n")
        self._lines += 1
        return False

    async def _broken(self) -> bool:
        """Carry out the injected break, if its moment has come."""
        if self._break is None or self._lines < self._break.after_lines:
            return False
        transport = self._request.transport
        match self._break.how:
            case "reset" if transport is not None:
                transport.abort()
            case "truncate":
                await self._response.write(b'{"type":"ADDED","object":{"meta')
            case "garbage":
                await self._response.write(b'{"type":"ADDED","object":{"meta\n')
            case "error":
                status = {"kind": "Status", "code": self._break.code, "message": "injected"}
                await self._response.write(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
            case "hang":
                await self._server._closed.wait()
        return True


def scope_of(request: web.Request, path: Path) -> Scope:
    """What a LIST or watch asks for."""
    query = request.query
    return Scope(path.plural, path.namespace, query.get("labelSelector"), query.get("fieldSelector"))


def bookmark(resource_version: int, annotations: dict[str, str] | None = None) -> Json:
    """A bookmark event."""
    meta: Json = {"resourceVersion": str(resource_version), "creationTimestamp": None}
    if annotations:
        meta["annotations"] = annotations
    return {"type": "BOOKMARK", "object": {"metadata": meta}}


def expired(resource_version: int) -> Json:
    """The event of a watch whose resourceVersion is too old."""
    message = f"too old resource version: {resource_version}"
    return {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": message}}


def _key(item: Json) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _is_served(path: str) -> bool:
    """Whether the group's version is one that the CRDs serve."""
    return not path.startswith(f"/apis/{GROUP}/") or path.startswith(f"/apis/{API_VERSION}/")


def _parse(path: str) -> Path:
    parts = path.strip("/").split("/")
    group, parts = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
    namespace = None
    if parts[0] == "namespaces" and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    rest: list[Any] = [*parts[1:], None, None]
    return Path(group, parts[0], namespace, rest[0], rest[1])


def _status(
    code: int, reason: str, message: str, headers: dict[str, str] | None = None, *, about: Path | None = None
) -> web.Response:
    body: Json = {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}
    if about is not None and about.name is not None:
        body["details"] = {"name": about.name, "kind": about.plural} | ({"group": about.group} if about.group else {})
    return web.json_response(body, status=code, headers=headers)


def _injected(fault: Answer) -> web.Response:
    headers = {"Retry-After": fault.retry_after} if fault.retry_after else None
    if fault.body is not None:
        return web.Response(status=fault.code, body=fault.body, headers=headers)
    return _status(fault.code, "Injected", fault.message, headers)
