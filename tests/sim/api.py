"""An API server in memory for the simulator: resourceVersions, compare-and-swap, status subresource, watches.

It implements what ``kube.api.Kube`` names; the contract tests hold it to what a real API server does. Faults come from
``Net``: a call may be delayed, lost before it is carried out, or carried out with its answer lost.
"""

import asyncio
import copy
import json
import random
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.sim.loop import EPOCH

from pinfleet_operator.errors import Conflict, NotFound, Rejected, Unavailable
from pinfleet_operator.kube.resources import Resource

Json = dict[str, Any]
Check = Callable[[str, Json | None, Json | None], None]
BOOKMARK_SECONDS = 60.0
TERMINAL = {"Succeeded", "Failed", "Cancelled", "TimedOut"}


@dataclass
class Net:
    """How a connection misbehaves; all zero: it does not."""

    rng: random.Random = field(default_factory=lambda: random.Random(0))
    delay_seconds: float = 0.002
    jitter_seconds: float = 0.0
    lose_request: float = 0.0  # probability that a call never arrives
    lose_reply: float = 0.0  # probability that a call is carried out and its answer lost
    is_cut: bool = False

    async def before(self) -> None:
        """On the way there."""
        await asyncio.sleep(self.delay_seconds + self.rng.random() * self.jitter_seconds)
        if self.is_cut or self.rng.random() < self.lose_request:
            raise Unavailable("cannot call: the request was lost")

    async def after(self) -> None:
        """On the way back."""
        await asyncio.sleep(self.delay_seconds + self.rng.random() * self.jitter_seconds)
        if self.is_cut or self.rng.random() < self.lose_reply:
            raise Unavailable("cannot call: the reply was lost")


class Server:
    """The objects and their history; shared by every client."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Json] = {}
        self.resource_version = 100
        self.history: list[tuple[int, str, str, Json]] = []  # rv, plural, ADDED/MODIFIED/DELETED, object
        self.changed = asyncio.Event()  # set, and replaced by another, at every change
        self.checks: list[Check] = []
        self._uids = 0

    def now(self) -> datetime:
        """The API server's clock: virtual time."""
        return EPOCH + timedelta(seconds=asyncio.get_running_loop().time())

    def create(self, plural: str, namespace: str, body: Json) -> Json:
        """Store a new object."""
        name = body["metadata"]["name"]
        if (plural, namespace, name) in self.objects:
            raise Conflict(f"cannot create {plural} {namespace}/{name}: it exists")
        self._uids += 1
        made = copy.deepcopy(body)
        made.pop("status", None)
        made["metadata"].update(
            namespace=namespace, uid=f"uid-{self._uids}-{name}", creationTimestamp=stamp(self.now()), generation=1
        )
        if plural == "pods":
            made["status"] = {"phase": "Pending"}
        return self.store(plural, "ADDED", None, made)

    def patch(self, plural: str, namespace: str, name: str, body: Json, subresource: str | None) -> Json:
        """Merge a patch into an object, or into its status."""
        old = self.read(plural, namespace, name)
        wanted = body.get("metadata", {}).get("resourceVersion")
        if wanted is not None and wanted != old["metadata"]["resourceVersion"]:
            raise Conflict(f"cannot patch {plural} {namespace}/{name}: it changed")
        new = copy.deepcopy(old)
        if subresource == "status":
            new["status"] = merged(new.get("status", {}), body.get("status", {}))
        else:
            patch = {k: v for k, v in body.items() if k != "status" or plural == "pods"}
            new = merged(new, patch)
            new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"]
            if new.get("spec") != old.get("spec"):
                new["metadata"]["generation"] += 1
        if new == old:
            return old
        if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers") and plural != "pods":
            return self.store(plural, "DELETED", old, new)
        return self.store(plural, "MODIFIED", old, new)

    def delete(self, plural: str, namespace: str, name: str, uid: str | None, resource_version: str | None) -> None:
        """Delete an object, or mark it where a finalizer or a kubelet must act first."""
        old = self.read(plural, namespace, name)
        meta = old["metadata"]
        if (uid and uid != meta["uid"]) or (resource_version and resource_version != meta["resourceVersion"]):
            raise Conflict(f"cannot delete {plural} {namespace}/{name}: it changed")
        waits = meta.get("finalizers") or (plural == "pods" and old["status"]["phase"] not in {"Succeeded", "Failed"})
        if not waits:
            self.store(plural, "DELETED", old, old)
        elif "deletionTimestamp" not in meta:
            new = copy.deepcopy(old)
            new["metadata"]["deletionTimestamp"] = stamp(self.now())
            self.store(plural, "MODIFIED", old, new)

    def remove(self, plural: str, namespace: str, name: str) -> None:
        """Take an object away at once, as a kubelet or a garbage collector does."""
        old = self.objects.get((plural, namespace, name))
        if old is not None:
            self.store(plural, "DELETED", old, old)

    def read(self, plural: str, namespace: str, name: str) -> Json:
        """One object."""
        found = self.objects.get((plural, namespace, name))
        if found is None:
            raise NotFound(f"cannot get {plural} {namespace}/{name}: not found")
        return found

    def all(self, plural: str) -> list[Json]:
        """Every object of a kind, by namespace and name."""
        return [self.objects[key] for key in sorted(self.objects) if key[0] == plural]

    def after(self, resource_version: int) -> list[tuple[int, str, str, Json]]:
        """Every change after a resourceVersion."""
        return self.history[bisect_right(self.history, resource_version, key=lambda change: change[0]) :]

    def store(self, plural: str, verb: str, old: Json | None, new: Json) -> Json:
        """Commit one change and tell the watchers."""
        for check in self.checks:
            check(plural, old, None if verb == "DELETED" else new)
        self.resource_version += 1
        new = copy.deepcopy(new)
        new["metadata"]["resourceVersion"] = str(self.resource_version)
        key = (plural, new["metadata"]["namespace"], new["metadata"]["name"])
        if verb == "DELETED":
            self.objects.pop(key, None)
            self._collect(new["metadata"]["uid"])
        else:
            self.objects[key] = new
        self.history.append((self.resource_version, plural, verb, new))
        self.changed.set()
        self.changed = asyncio.Event()
        return new

    def _collect(self, uid: str) -> None:
        """The garbage collector: children of an owner that is gone."""
        for (plural, namespace, name), found in list(self.objects.items()):
            if any(owner["uid"] == uid for owner in found["metadata"].get("ownerReferences", ())):
                self.delete(plural, namespace, name, None, None)


class Client:
    """One party's connection to the server: implements ``kube.api.Kube``."""

    def __init__(self, server: Server, net: Net, *, may_write: Callable[[], None] = lambda: None) -> None:
        self.server, self.net, self._may_write = server, net, may_write
        self.writes: dict[tuple[str, str], int] = {}

    def server_now(self) -> datetime:
        """The API server's clock, as its answers show it."""
        return self.server.now()

    async def get(self, resource: Resource, namespace: str | None, name: str) -> bytes:
        """One object."""
        return await self._call(lambda: encoded(self.server.read(resource.plural, namespace or "", name)))

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

        def read() -> bytes:
            items = [
                item
                for item in self.server.all(resource.plural)
                if (namespace is None or item["metadata"]["namespace"] == namespace)
                and matches(item["metadata"].get("labels", {}), label_selector, lambda labels, key: labels.get(key, ""))
                and matches(item, field_selector, at_path)
            ]
            return encoded({"metadata": {"resourceVersion": str(self.server.resource_version)}, "items": items})

        return await self._call(read)

    async def watch(
        self,
        resource: Resource,
        *,
        resource_version: str | None = None,
        send_initial_events: bool = False,
        **_: object,
    ) -> AsyncGenerator[bytes, None]:
        """First every object if asked for, then every change in order, each after the net's delay."""
        await self.net.before()
        if send_initial_events:
            at = self.server.resource_version
            for item in self.server.all(resource.plural):
                yield encoded({"type": "ADDED", "object": item})
            yield encoded({"type": "BOOKMARK", "object": bookmark(at)})
        else:
            at = int(resource_version or 0)
        while True:
            changed = self.server.changed
            for rv, plural, verb, item in self.server.after(at):
                at = rv
                if plural != resource.plural:
                    continue
                await asyncio.sleep(self.net.delay_seconds + self.net.rng.random() * self.net.jitter_seconds)
                if self.net.is_cut:
                    raise Unavailable("cannot watch: the stream was cut")
                yield encoded({"type": verb, "object": item})
            try:
                async with asyncio.timeout(BOOKMARK_SECONDS):
                    await changed.wait()
            except TimeoutError:
                yield encoded({"type": "BOOKMARK", "object": bookmark(at)})

    async def create(self, resource: Resource, namespace: str | None, body: bytes, *, dry_run: bool = False) -> bytes:
        """Store a new object."""
        if dry_run:
            return await self._call(lambda: body)
        made = json.loads(body)
        return await self._write("create", resource, lambda: self.server.create(resource.plural, namespace or "", made))

    async def merge_patch(
        self, resource: Resource, namespace: str | None, name: str, body: bytes, *, subresource: str | None = None
    ) -> bytes:
        """Merge a patch."""
        patch = json.loads(body)
        return await self._write(
            "patch", resource, lambda: self.server.patch(resource.plural, namespace or "", name, patch, subresource)
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
            self.server.delete(resource.plural, namespace or "", name, uid, resource_version)
            return {}

        await self._write("delete", resource, remove)

    async def _write(self, verb: str, resource: Resource, do: Callable[[], Json]) -> bytes:
        self._may_write()

        def counted() -> bytes:
            done = encoded(do())
            self.writes[(verb, resource.plural)] = self.writes.get((verb, resource.plural), 0) + 1
            return done

        return await self._call(counted)

    async def _call(self, do: Callable[[], bytes]) -> bytes:
        await self.net.before()
        done = do()
        await self.net.after()
        return done


def bookmark(resource_version: int) -> Json:
    """The object of a bookmark that ends an initial list, or says that nothing changed."""
    marks = {"k8s.io/initial-events-end": "true"}
    return {"metadata": {"resourceVersion": str(resource_version), "annotations": marks}}


def run_rules(plural: str, old: Json | None, new: Json | None) -> None:
    """The schema's transition rules on runs, as the CRD has them."""
    if plural != "agentruns" or old is None or new is None:
        return
    was, now = old.get("status", {}), new.get("status", {})
    if was.get("version") and now.get("version") != was["version"]:
        raise Rejected("cannot patch AgentRun: the pin is write-once")
    if now.get("epoch", 0) < was.get("epoch", 0):
        raise Rejected("cannot patch AgentRun: the epoch never falls")
    if was.get("phase") in TERMINAL and now.get("phase") != was["phase"]:
        raise Rejected("cannot patch AgentRun: a terminal phase is final")


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def matches(item: Any, selector: str | None, read: Callable[[Any, str], Any]) -> bool:
    """Whether every ``a=b`` or ``a!=b`` of a selector holds."""
    for part in (selector or "").split(","):
        if "!=" in part:
            key, value = part.split("!=")
            if read(item, key) == value:
                return False
        elif part:
            key, value = part.replace("==", "=").split("=")
            if read(item, key) != value:
                return False
    return True


def at_path(item: Any, path: str) -> Any:
    """The value at a dotted path; "" where there is none."""
    for key in path.split("."):
        item = item.get(key, {}) if isinstance(item, dict) else {}
    return item if item != {} else ""


def encoded(item: Json) -> bytes:
    """As it would come over HTTP."""
    return json.dumps(item).encode()


def stamp(at: datetime) -> str:
    """A Kubernetes timestamp: whole seconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
