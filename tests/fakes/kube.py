"""`kube.api.Kube` straight on `memory.Memory`, without HTTP: for scenarios in virtual time."""

import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

from pinfleet_operator.errors import ClusterError
from pinfleet_operator.kube.answers import Call, failure
from pinfleet_operator.kube.api import Match, Propagation
from pinfleet_operator.kube.resources import Resource
from tests.fakes.memory import Json, Memory, RefusedError


class MemoryKube:
    """One party's view of the data."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def server_now(self) -> datetime:
        """The wall clock."""
        return datetime.now(UTC)

    async def get(self, resource: Resource, namespace: str | None, name: str) -> bytes:
        """One object."""
        try:
            return _encoded(self.memory.get(resource.plural, namespace or "", name))
        except RefusedError as err:
            raise _failure(Call("get", resource, namespace, name), err) from err

    async def list_page(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        resource_version: str | None = None,
        resource_version_match: Match | None = None,
        limit: int | None = None,
        continue_token: str | None = None,
    ) -> bytes:
        """Not needed by any scenario yet."""
        raise NotImplementedError

    async def create(self, resource: Resource, namespace: str | None, body: bytes, *, dry_run: bool = False) -> bytes:
        """A new object."""
        try:
            return _encoded(self.memory.create(resource.plural, namespace or "", json.loads(body), dry_run=dry_run))
        except RefusedError as err:
            raise _failure(Call("create", resource, namespace), err) from err

    async def merge_patch(
        self, resource: Resource, namespace: str | None, name: str, body: bytes, *, subresource: str | None = None
    ) -> bytes:
        """A changed object."""
        try:
            patch, status = json.loads(body), subresource == "status"
            return _encoded(self.memory.patch(resource.plural, namespace or "", name, patch, status=status))
        except RefusedError as err:
            raise _failure(Call("patch", resource, namespace, name), err) from err

    async def json_patch(
        self, resource: Resource, namespace: str | None, name: str, body: bytes, *, subresource: str | None = None
    ) -> bytes:
        """Not needed by any scenario yet."""
        raise NotImplementedError

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_seconds: int | None = None,
        propagation: Propagation | None = None,
    ) -> None:
        """Not needed by any scenario yet."""
        raise NotImplementedError

    def watch(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        resource_version: str | None = None,
        send_initial_events: bool = False,
        timeout_seconds: int | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Not needed by any scenario yet."""
        raise NotImplementedError


def _failure(call: Call, err: RefusedError) -> ClusterError:
    about = {"name": call.name or "", "group": call.resource.group, "kind": call.resource.plural}
    return failure(call, err.code, _encoded({"reason": err.reason, "message": str(err), "details": about}))


def _encoded(item: Json) -> bytes:
    return json.dumps(item).encode()
