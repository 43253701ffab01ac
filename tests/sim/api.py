"""Connections to the API server in memory: what ``kube.api.Kube`` names, over a ``Net`` that may misbehave."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from pinfleet_operator.errors import Unavailable
from pinfleet_operator.kube.resources import Resource
from tests.sim.net import Net
from tests.sim.server import Json, Server

BOOKMARK_SECONDS = 60.0


@dataclass(frozen=True)
class Write:
    """One write that reached the server."""

    at: float  # virtual seconds
    verb: str
    plural: str
    name: str
    refusal: str  # name of the error; "": it was carried out


class Client:
    """One party's connection to the server: implements ``kube.api.Kube``."""

    def __init__(self, server: Server, net: Net, *, may_write: Callable[[], None] = lambda: None) -> None:
        self.server, self.net, self._may_write = server, net, may_write
        self.writes: list[Write] = []
        self.fleets_as_of: Callable[[], int | None] = lambda: None  # reads of fleets come from a cache (rule 4 out)
        self.on_delete_pod: Callable[[str], Callable[[], None]] = lambda _name: lambda: None

    def server_now(self) -> datetime:
        """The API server's clock, as its answers show it."""
        return self.server.now()

    async def get(self, resource: Resource, namespace: str | None, name: str) -> bytes:
        """One object."""
        as_of = self.fleets_as_of() if resource.plural == "agentdeployments" else None

        def read() -> Json:
            return self.server.read(resource.plural, namespace or "", name, as_of)

        return await self._call("get", resource, name, read)

    async def list_page(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        **_: object,
    ) -> bytes:
        """Every object that the selectors match, in one page."""

        def read() -> Json:
            items = [
                item
                for item in self.server.all(resource.plural)
                if (namespace is None or item["metadata"]["namespace"] == namespace)
                and matches(item["metadata"].get("labels", {}), label_selector, lambda labels, key: labels.get(key, ""))
                and matches(item, field_selector, at_path)
            ]
            return {"metadata": {"resourceVersion": str(self.server.resource_version)}, "items": items}

        return await self._call("list", resource, "", read)

    async def watch(
        self,
        resource: Resource,
        *,
        resource_version: str | None = None,
        send_initial_events: bool = False,
        **_: object,
    ) -> AsyncGenerator[bytes, None]:
        """First every object if asked for, then every change in order, each after the net's delay."""
        await self._stream(resource)
        restores = self.server.restores
        if send_initial_events:
            at = self.server.resource_version
            for item in self.server.all(resource.plural):
                yield encoded({"type": "ADDED", "object": item})
            yield encoded({"type": "BOOKMARK", "object": bookmark(at)})
        else:
            at = int(resource_version or 0)
        while True:
            if self.server.restores != restores:
                raise Unavailable(f"cannot watch {resource.plural}: the API server was started anew")
            changed = self.server.changed(resource.plural)
            for change in self.server.after(resource.plural, at):
                at = change[0]
                await self._stream(resource)
                yield self.server.line(change)
            try:
                async with asyncio.timeout(BOOKMARK_SECONDS):
                    await changed.wait()
            except TimeoutError:
                if not changed.is_set():
                    at = max(at, self.server.resource_version)
                    await self._stream(resource)
                    yield encoded({"type": "BOOKMARK", "object": bookmark(at)})

    async def create(self, resource: Resource, namespace: str | None, body: bytes, *, dry_run: bool = False) -> bytes:
        """Store a new object."""
        made = msgspec.json.decode(body)
        name = made["metadata"]["name"]
        if dry_run:
            return await self._call("check", resource, name, lambda: made)
        return await self._write(
            "create", resource, name, lambda: self.server.create(resource.plural, namespace or "", made)
        )

    async def merge_patch(
        self, resource: Resource, namespace: str | None, name: str, body: bytes, *, subresource: str | None = None
    ) -> bytes:
        """Merge a patch."""
        patch = msgspec.json.decode(body)
        return await self._write(
            "patch",
            resource,
            name,
            lambda: self.server.patch(resource.plural, namespace or "", name, patch, subresource),
        )

    async def json_patch(
        self, resource: Resource, namespace: str | None, name: str, body: bytes, *, subresource: str | None = None
    ) -> bytes:
        """Carry out a JSON patch of `replace`, `add` and `remove` at paths of objects."""
        patch = merge_of(msgspec.json.decode(body))
        return await self._write(
            "patch",
            resource,
            name,
            lambda: self.server.patch(resource.plural, namespace or "", name, patch, subresource, keeps_nulls=True),
        )

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        **_: object,
    ) -> None:
        """Delete an object."""

        def remove() -> Json:
            done = self.on_delete_pod(name) if resource.plural == "pods" else lambda: None
            self.server.delete(resource.plural, namespace or "", name, uid, resource_version)
            done()
            return {}

        await self._write("delete", resource, name, remove)

    async def _stream(self, resource: Resource) -> None:
        """The way of one event; a cut ends the stream."""
        fault = self.net.script("watch", resource.plural)
        lag = self.net.rng.random() * self.net.watch_lag_seconds
        await self.net.pause(lag + (fault.before_seconds if fault is not None else 0.0))
        await self.net.gate()
        if self.net.is_cut or (fault is not None and fault.loses_request):
            raise Unavailable(f"cannot watch {resource.plural}: the stream was cut")

    async def _write(self, verb: str, resource: Resource, name: str, do: Callable[[], Json]) -> bytes:
        self._may_write()

        def counted() -> Json:
            at, refusal = asyncio.get_running_loop().time(), ""
            try:
                return do()
            except Exception as err:
                refusal = type(err).__name__
                raise
            finally:
                self.writes.append(Write(at, verb, resource.plural, name, refusal))

        return await self._call(verb, resource, name, counted)

    async def _call(self, verb: str, resource: Resource, name: str, do: Callable[[], Json]) -> bytes:
        async def done() -> bytes:
            return encoded(do())

        return await self.net.carry(f"{verb} {resource.plural}", name, done)


def bookmark(resource_version: int) -> Json:
    """The object of a bookmark that ends an initial list, or says that nothing changed."""
    marks = {"k8s.io/initial-events-end": "true"}
    return {"metadata": {"resourceVersion": str(resource_version), "annotations": marks}}


def merge_of(operations: list[Json]) -> Json:
    """A JSON patch as the members that it sets; a removed one is null."""
    body: Json = {}
    for each in operations:
        at = body
        *path, last = each["path"].strip("/").split("/")
        for key in path:
            at = at.setdefault(key, {})
        at[last] = each.get("value")
    return body


def matches(item: Any, selector: str | None, read: Callable[[Any, str], Any]) -> bool:
    """Whether every ``a=b`` or ``a!=b`` of a selector holds."""
    for part in (selector or "").split(","):
        if "!=" in part:
            key, value = part.split("!=")
            if read(item, key) == value:
                return False
        elif "=" in part:
            key, value = part.replace("==", "=").split("=")
            if read(item, key) != value:
                return False
        elif part and not read(item, part):
            return False
    return True


def at_path(item: Any, path: str) -> Any:
    """The value at a dotted path; "" where there is none."""
    for key in path.split("."):
        item = item.get(key, {}) if isinstance(item, dict) else {}
    return item if item != {} else ""


def encoded(item: Json) -> bytes:
    """As it would come over HTTP."""
    return msgspec.json.encode(item)
