"""What the operator asks of a Kubernetes API server: the seam between it and the wire.

`client.KubeClient` speaks HTTP; a simulator and the tests implement the same in memory, and contract tests hold them
together. Bodies and answers are JSON bytes: decoding is the caller's. Every call is made once: a caller that wants
another try makes another call.
"""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Literal, Protocol

from pinfleet_operator.kube.resources import Resource

Match = Literal["Exact", "NotOlderThan"]
"""How a LIST's resourceVersion binds its answer."""

Propagation = Literal["Background", "Foreground", "Orphan"]
"""What becomes of the objects that a deleted one owns."""


class Kube(Protocol):
    """Calls to the API server; each raises a `ClusterError` and nothing else."""

    def server_now(self) -> datetime:
        """The API server's wall clock, as far as its answers tell; ours before the first answer."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> bytes:
        """One object, read consistently."""

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
        """One page of a collection; consistent where no resourceVersion is given. `listing.list_all` reads them all."""

    async def create(self, resource: Resource, namespace: str | None, body: bytes, *, dry_run: bool = False) -> bytes:
        """Create an object; `dry_run` validates and defaults it without keeping it."""

    async def merge_patch(
        self, resource: Resource, namespace: str | None, name: str, body: bytes, *, subresource: str | None = None
    ) -> bytes:
        """Merge JSON into an object; a ``metadata.resourceVersion`` in it is the precondition (`Conflict`)."""

    async def json_patch(
        self, resource: Resource, namespace: str | None, name: str, body: bytes, *, subresource: str | None = None
    ) -> bytes:
        """Apply RFC 6902 operations: what a merge cannot say, such as a null inside a result.

        A ``replace`` of ``/metadata/resourceVersion`` is the precondition, as in a merge.
        """

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
        """Delete an object if it still has that uid and resourceVersion (`Conflict` otherwise)."""

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
        """The events after `resource_version`, one JSON text each, bookmarks included; ends when the server ends it.

        With `send_initial_events` and no resourceVersion: first every object, then the bookmark that ends them
        (watch-list). `timeout_seconds` asks the server to end the stream then; None: its own choice.
        Close the generator (``contextlib.aclosing``): the connection lives as long as it does.
        """
