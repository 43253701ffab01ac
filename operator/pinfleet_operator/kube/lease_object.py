"""One Lease object, written only where nobody else has written since it was last seen."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final

import msgspec

from pinfleet_operator.api.nesting import decode
from pinfleet_operator.clock import Clock
from pinfleet_operator.errors import Bug, NotFound, Unavailable
from pinfleet_operator.kube.api import Kube
from pinfleet_operator.kube.resources import LEASES

Spec = dict[str, str | int | None]
"""Fields of a Lease's spec; None removes one."""


@dataclass(frozen=True)
class Seen:
    """A Lease as last seen."""

    holder: str | None
    duration_seconds: int
    transitions: int
    resource_version: str
    changed_at: float  # CLOCK_BOOTTIME when this resourceVersion was first seen


class _Spec(msgspec.Struct, rename="camel"):
    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    lease_transitions: int | None = None


class _Meta(msgspec.Struct, rename="camel"):
    resource_version: str


class _Lease(msgspec.Struct):
    metadata: _Meta
    spec: _Spec = msgspec.field(default_factory=_Spec)


_LEASE: Final = msgspec.json.Decoder(_Lease)


class LeaseObject:
    """Reads and writes one Lease; every call has a time limit in seconds and raises a `ClusterError`."""

    def __init__(self, kube: Kube, namespace: str, name: str, clock: Clock) -> None:
        self._kube, self._namespace, self._name, self._clock = kube, namespace, name, clock
        self._seen: Seen | None = None

    def __str__(self) -> str:
        return f"Lease {self._namespace}/{self._name}"

    async def read(self, limit: float) -> Seen | None:
        """The Lease now; None: there is none."""
        try:
            return await self._call("get", self._kube.get(LEASES, self._namespace, self._name), limit)
        except NotFound:
            return None

    async def create(self, spec: Spec, limit: float) -> Seen:
        """Make the Lease."""
        body = msgspec.json.encode({"metadata": {"name": self._name}, "spec": spec})
        return await self._call("create", self._kube.create(LEASES, self._namespace, body), limit)

    async def write(self, spec: Spec, limit: float) -> Seen:
        """Change the Lease, if it still is as last seen."""
        version = self._seen.resource_version if self._seen is not None else None
        body = msgspec.json.encode({"metadata": {"resourceVersion": version}, "spec": spec})
        return await self._call("patch", self._kube.merge_patch(LEASES, self._namespace, self._name, body), limit)

    def _require_not_before(self, verb: str, resource_version: str) -> None:
        """Raise Bug if the server knows less than it has told already (rule 13).

        A leader writes the Lease every second: of all objects it is the first to show a restored etcd. Watches may be
        silent then until the numbers have come round.
        """
        if self._seen is not None and int(resource_version) < int(self._seen.resource_version):
            went = f"from {self._seen.resource_version} to {resource_version}"
            raise Bug(f"cannot {verb} {self}: the resourceVersion went back {went}: was the server's etcd restored?")

    async def _call(self, verb: str, call: Awaitable[bytes], limit: float) -> Seen:
        try:
            async with asyncio.timeout(limit):
                found = decode(_LEASE, await call)
        except TimeoutError as err:
            raise Unavailable(f"cannot {verb} {self}: no answer in {limit:.1f} s") from err
        except msgspec.MsgspecError as err:
            raise Unavailable(f"cannot {verb} {self}: the answer is no Lease: {err}") from err
        version, spec = found.metadata.resource_version, found.spec
        self._require_not_before(verb, version)
        if self._seen is None or self._seen.resource_version != version:
            self._seen = Seen(
                holder=spec.holder_identity,
                duration_seconds=spec.lease_duration_seconds or 0,
                transitions=spec.lease_transitions or 0,
                resource_version=version,
                changed_at=self._clock.boottime(),
            )
        return self._seen
