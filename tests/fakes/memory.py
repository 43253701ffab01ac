"""A Kubernetes API server's data in memory: objects, resourceVersions, preconditions, history. No HTTP.

The contract tests run the same cases against this and against a real kube-apiserver.
"""

import asyncio
import copy
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from tests.fakes.selectors import BadSelectorError, check_fields, matches

Json = dict[str, Any]
Patch = Json | list[Json]  # a merge, or operations
Key = tuple[str, str]  # namespace ("" for none), name

HAS_STATUS: Final = {"agentdeployments", "agentversions", "agentruns", "pods", "nodes", "namespaces"}
HAS_GENERATION: Final = {"agentdeployments", "agentversions", "agentruns"}
STATUS_KEEPS_METADATA: Final = HAS_GENERATION
"""Custom resources, where a write to /status changes nothing beside the status."""


class RefusedError(Exception):
    """The API server's no."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


@dataclass(frozen=True)
class Change:
    """One entry of the history."""

    resource_version: int
    plural: str
    old: Json | None
    new: Json | None  # None: deleted; `last` is what the watchers get
    last: Json


@dataclass(frozen=True)
class Scope:
    """What a LIST or a watch is about."""

    plural: str
    namespace: str | None = None
    labels: str | None = None
    fields: str | None = None

    def holds(self, item: Json | None) -> bool:
        """Whether the object is in it."""
        if item is None or self.namespace not in {None, item["metadata"].get("namespace")}:
            return False
        return matches(self.plural, item, self.labels, self.fields)

    def check(self) -> None:
        """Refuse selectors that cannot be."""
        try:
            check_fields(self.plural, self.fields)
        except BadSelectorError as err:
            raise RefusedError(400, "BadRequest", str(err)) from err


class Memory:
    """The data."""

    def __init__(self) -> None:
        self.resource_version = 100
        self.compacted = 0  # history up to here is forgotten
        self.changes: list[Change] = []
        self.moved = asyncio.Event()  # set, and replaced, at every change
        self._objects: dict[str, dict[Key, Json]] = {}

    # Reads

    def get(self, plural: str, namespace: str, name: str) -> Json:
        """One object."""
        found = self._objects.get(plural, {}).get((namespace, name))
        if found is None:
            raise RefusedError(404, "NotFound", f'{plural} "{name}" not found')
        return found

    def list(self, scope: Scope, at: int | None = None) -> list[Json]:
        """The objects of a scope by namespace and name, now or as of a resourceVersion that is still remembered."""
        scope.check()
        objects = dict(self._objects.get(scope.plural, {}))
        if at is not None:
            self.check_version(at)
            for change in reversed(self.changes):
                if change.resource_version <= at:
                    break
                if change.plural == scope.plural:
                    objects.pop(_key(change.last), None)
                    if change.old is not None:
                        objects[_key(change.old)] = change.old
        return [objects[key] for key in sorted(objects) if scope.holds(objects[key])]

    def check_version(self, at: int) -> None:
        """Refuse a resourceVersion that is too old, or not there yet."""
        if at < self.compacted:
            raise RefusedError(410, "Expired", f"too old resource version: {at} ({self.compacted})")
        if at > self.resource_version:
            raise RefusedError(504, "Timeout", f"Too large resource version: {at}, current: {self.resource_version}")

    def events(self, scope: Scope, after: int) -> Iterator[tuple[int, Json]]:
        """(resourceVersion, watch event) of every change in a scope."""
        for change in self.changes:
            if change.resource_version <= after or change.plural != scope.plural:
                continue
            was, now = scope.holds(change.old), scope.holds(change.new)
            if not was and not now:
                continue
            kind = "MODIFIED" if was and now else "ADDED" if now else "DELETED"
            item = change.last
            if kind == "DELETED" and change.new is not None:  # it left the selector: its state before, newly versioned
                item = _versioned(change.old or change.last, change.resource_version)
            yield change.resource_version, {"type": kind, "object": item}

    def compact(self) -> None:
        """Forget the history: whoever resumes from before gets 410."""
        self.compacted = self.resource_version
        self.changes.clear()

    def restore(self, at: int) -> None:
        """Go back to an earlier state, as an etcd that was restored from a backup; numbers are used again."""
        while self.changes and self.changes[-1].resource_version > at:
            change = self.changes.pop()
            objects = self._objects[change.plural]
            objects.pop(_key(change.last), None)
            if change.old is not None:
                objects[_key(change.old)] = change.old
        self.resource_version = at

    # Writes

    def create(self, plural: str, namespace: str, body: Json, *, dry_run: bool = False) -> Json:
        """Store a new object."""
        made = copy.deepcopy(body)
        meta = made.setdefault("metadata", {})
        if not meta.get("name"):
            raise RefusedError(422, "Invalid", "metadata.name: Required value: name or generateName is required")
        if (namespace, meta["name"]) in self._objects.get(plural, {}):
            raise RefusedError(409, "AlreadyExists", f'{plural} "{meta["name"]}" already exists')
        if plural in HAS_STATUS:
            made.pop("status", None)
        meta.update(uid=str(uuid.uuid4()), creationTimestamp=_stamp())
        if namespace:
            meta["namespace"] = namespace
        if plural in HAS_GENERATION:
            meta["generation"] = 1
        if plural == "pods":
            made["status"] = {"phase": "Pending"}
        return made if dry_run else self._commit(plural, None, made)

    def patch(self, plural: str, namespace: str, name: str, body: Patch, *, status: bool = False) -> Json:
        """Patch an object, or its status, by a merge (an object) or by operations (a list)."""
        old = self.get(plural, namespace, name)
        wanted = merge(old, body) if isinstance(body, dict) else operate(old, body)
        meta = body.get("metadata", {}) if isinstance(body, dict) else wanted["metadata"]
        _check_precondition(old, meta, uid=not (status and plural in STATUS_KEEPS_METADATA))
        if status:
            new = {**old, "status": wanted.get("status", {})}
            if plural not in STATUS_KEEPS_METADATA:
                new["metadata"] = wanted["metadata"]
        else:
            new = wanted
            if plural in HAS_STATUS:
                new["status"] = old.get("status")
            new = {key: value for key, value in new.items() if value is not None}
            if plural in HAS_GENERATION and new.get("spec") != old.get("spec"):
                new["metadata"]["generation"] += 1
        new["metadata"] = {**new["metadata"], **_fixed(old["metadata"])}
        if new == old:
            return old
        if "deletionTimestamp" in new["metadata"] and not new["metadata"].get("finalizers"):
            return self._commit(plural, new, None)
        return self._commit(plural, old, new)

    def delete(self, plural: str, namespace: str, name: str, options: Json) -> Json:
        """Delete an object, or mark it where a finalizer or a kubelet must act first."""
        old = self.get(plural, namespace, name)
        meta = old["metadata"]
        for key in ("uid", "resourceVersion"):
            wanted = (options.get("preconditions") or {}).get(key)
            if wanted is not None and wanted != meta[key]:
                raise RefusedError(409, "Conflict", f"the {key} in the precondition ({wanted}) is not {meta[key]}")
        grace = options.get("gracePeriodSeconds", 30)
        is_running = plural == "pods" and old.get("spec", {}).get("nodeName") and grace > 0
        if not meta.get("finalizers") and not is_running:
            return self._commit(plural, old, None)
        if "deletionTimestamp" in meta:
            return old
        return self._commit(plural, old, {**old, "metadata": {**meta, "deletionTimestamp": _stamp()}})

    def _commit(self, plural: str, old: Json | None, new: Json | None) -> Json:
        self.resource_version += 1
        last = _versioned(new or old or {}, self.resource_version)
        objects = self._objects.setdefault(plural, {})
        if new is None:
            objects.pop(_key(last), None)
        else:
            objects[_key(last)] = last
        self.changes.append(Change(self.resource_version, plural, old, last if new is not None else None, last))
        self.wake()
        return last

    def wake(self) -> None:
        """Let every watcher look again."""
        self.moved.set()
        self.moved = asyncio.Event()


def merge(target: Any, patch: Any) -> Any:
    """JSON merge patch, RFC 7396."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def operate(target: Json, operations: list[Json]) -> Json:
    """JSON patch, RFC 6902: add, replace, remove and test of members of objects."""
    result = copy.deepcopy(target)
    for operation in operations:
        *parents, last = (part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:])
        node = result
        for part in parents:
            node = node[part]
        match operation["op"]:
            case "remove":
                del node[last]
            case "test":
                if node.get(last) != operation["value"]:
                    raise RefusedError(422, "Invalid", f"test of {operation['path']} failed")
            case _:
                node[last] = copy.deepcopy(operation["value"])
    return result


def _check_precondition(old: Json, meta: Json, *, uid: bool) -> None:
    wanted = meta.get("resourceVersion")
    if wanted in {"", "0"}:
        raise RefusedError(422, "Invalid", "metadata.resourceVersion: Invalid value: must be specified for an update")
    if wanted is not None and not wanted.isdecimal():
        raise RefusedError(500, "InternalError", f"strconv.ParseUint: parsing {wanted!r}: invalid syntax")
    if wanted not in {None, old["metadata"]["resourceVersion"]}:
        raise RefusedError(409, "Conflict", "the object has been modified")
    if uid and meta.get("uid") not in {None, old["metadata"]["uid"]}:
        raise RefusedError(409, "Conflict", f"the UID in the precondition ({meta['uid']}) does not match")


def _fixed(meta: Json) -> Json:
    return {key: meta[key] for key in ("uid", "name", "creationTimestamp", "resourceVersion") if key in meta}


def _versioned(item: Json, resource_version: int) -> Json:
    return {**item, "metadata": {**item["metadata"], "resourceVersion": str(resource_version)}}


def _key(item: Json) -> Key:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _stamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
