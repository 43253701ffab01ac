"""The API server's objects and their history: resourceVersions, compare-and-swap, finalizers, owners."""

import asyncio
import copy
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from pinfleet_operator.errors import Conflict, NotFound
from tests.sim.loop import EPOCH

Json = dict[str, Any]
Change = tuple[int, str, str, Json]
"""resourceVersion, plural, ADDED/MODIFIED/DELETED, object."""
Check = Callable[[str, Json | None, Json | None], None]
Listener = Callable[[str, str, Json], None]


class Server:
    """The objects and their history; shared by every client."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Json] = {}
        self.resource_version = 100
        self.history: list[Change] = []
        self._changes: dict[str, list[Change]] = defaultdict(list)  # by plural: the same history
        self._changed: dict[str, asyncio.Event] = defaultdict(asyncio.Event)  # by plural
        self._lines: dict[int, tuple[Json, bytes]] = {}  # resourceVersion -> the object, and what a watch tells
        self.checks: list[Check] = []
        self.has_preconditions = True  # on status: False takes compare-and-swap out, for a control
        self.listeners: list[Listener] = []  # plural, verb, object: kubelets and recorders
        self.restores = 0  # how often etcd was put back
        self.times: dict[int, float] = {}  # resourceVersion -> virtual seconds
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

    def patch(
        self,
        plural: str,
        namespace: str,
        name: str,
        body: Json,
        subresource: str | None = None,
        *,
        keeps_nulls: bool = False,
    ) -> Json:
        """Merge a patch into an object, or into its status."""
        old = self.read(plural, namespace, name)
        wanted = body.get("metadata", {}).get("resourceVersion")
        has_precondition = self.has_preconditions or subresource != "status"
        if has_precondition and wanted is not None and wanted != old["metadata"]["resourceVersion"]:
            raise Conflict(f"cannot patch {plural} {namespace}/{name}: it changed")
        if subresource == "status":
            change = merged if not keeps_nulls else lambda was, now: {**was, **now}
            new = {**old, "status": change(old.get("status", {}), body.get("status", {}))}
        else:
            patch = {k: v for k, v in body.items() if k != "status" or plural == "pods"}
            new = merged(old, patch)
            new["metadata"] = {**new["metadata"], "resourceVersion": old["metadata"]["resourceVersion"]}
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
            new = {**old, "metadata": {**meta, "deletionTimestamp": stamp(self.now())}}
            self.store(plural, "MODIFIED", old, new)

    def remove(self, plural: str, namespace: str, name: str) -> None:
        """Take an object away at once, as a kubelet or a garbage collector does."""
        old = self.objects.get((plural, namespace, name))
        if old is not None:
            self.store(plural, "DELETED", old, old)

    def read(self, plural: str, namespace: str, name: str, as_of: int | None = None) -> Json:
        """One object, now or as of a resourceVersion."""
        found = self.objects.get((plural, namespace, name))
        if as_of is not None:
            mine = [item for rv, _, _, item in self._changes[plural] if rv <= as_of]
            found = next((each for each in reversed(mine) if each["metadata"]["name"] == name), None)
        if found is None:
            raise NotFound(f"cannot get {plural} {namespace}/{name}: not found")
        return found

    def all(self, plural: str) -> list[Json]:
        """Every object of a kind, by namespace and name."""
        return [self.objects[key] for key in sorted(key for key in self.objects if key[0] == plural)]

    def after(self, plural: str, resource_version: int) -> list[Change]:
        """Every change of a kind after a resourceVersion."""
        changes = self._changes[plural]
        return changes[bisect_right(changes, resource_version, key=lambda change: change[0]) :]

    def changed(self, plural: str) -> asyncio.Event:
        """What is set at the next change of a kind."""
        return self._changed[plural]

    def line(self, change: Change) -> bytes:
        """A change as every watch tells it."""
        rv, _, verb, item = change
        known = self._lines.get(rv)
        if known is None or known[0] is not item:  # a restored etcd gives numbers again, while old watches still end
            known = self._lines[rv] = item, msgspec.json.encode({"type": verb, "object": item})
        return known[1]

    def store(self, plural: str, verb: str, old: Json | None, new: Json) -> Json:
        """Commit one change and tell the watchers."""
        for check in self.checks:
            check(plural, old, None if verb == "DELETED" else new)
        self.resource_version += 1
        new = {**new, "metadata": {**new["metadata"], "resourceVersion": str(self.resource_version)}}
        key = (plural, new["metadata"]["namespace"], new["metadata"]["name"])
        if verb == "DELETED":
            self.objects.pop(key, None)
            self._collect(new["metadata"]["uid"])
        else:
            self.objects[key] = new
        change = (self.resource_version, plural, verb, new)
        self.history.append(change)
        self._changes[plural].append(change)
        self.times[self.resource_version] = asyncio.get_running_loop().time()
        self._tell(plural)
        for listener in self.listeners:
            listener(plural, verb, new)
        return new

    def restore(self, at: int) -> None:
        """Go back to an earlier state, as an etcd that was restored from a backup; numbers are used again.

        What came after it is forgotten by the history too: to the cluster it did not happen.
        """
        while self.history and self.history[-1][0] > at:
            rv, plural, _, _ = self.history.pop()
            del self.times[rv]
            self._changes[plural].pop()
            self._lines.pop(rv, None)
        self.objects = {}
        for _, plural, verb, item in self.history:
            key = (plural, item["metadata"]["namespace"], item["metadata"]["name"])
            if verb == "DELETED":
                self.objects.pop(key, None)
            else:
                self.objects[key] = item
        self.resource_version, self.restores = at, self.restores + 1
        for plural in list(self._changed):
            self._tell(plural)

    def _tell(self, plural: str) -> None:
        self._changed.pop(plural, asyncio.Event()).set()

    def _collect(self, uid: str) -> None:
        """The garbage collector: children of an owner that is gone."""
        for (plural, namespace, name), found in list(self.objects.items()):
            if any(owner["uid"] == uid for owner in found["metadata"].get("ownerReferences", ())):
                self.delete(plural, namespace, name, None, None)


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


def stamp(at: datetime) -> str:
    """A Kubernetes timestamp: whole seconds."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
