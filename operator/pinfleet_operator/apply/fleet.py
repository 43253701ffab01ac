"""Writes to the fleet's own object, and what the run loop is told of it. Caller: ``apply``."""

from datetime import timedelta
from typing import Any, Final, assert_never

import msgspec
import structlog

from pinfleet_operator import crash
from pinfleet_operator.api import keys, nesting
from pinfleet_operator.api.fleet import FleetView
from pinfleet_operator.api.models.agent_deployment import AgentDeploymentStatus
from pinfleet_operator.api.models.base import Model
from pinfleet_operator.errors import ClusterError, Unavailable
from pinfleet_operator.kube.api import Kube
from pinfleet_operator.kube.resources import AGENT_DEPLOYMENTS
from pinfleet_operator.plan.actions import AddFinalizer, DropFleet, Promote, RemoveFinalizer, SetFleet, WriteStatus
from pinfleet_operator.plan.memory import FleetMemory, UnknownPromote
from pinfleet_operator.plan.world import World
from pinfleet_operator.store import Store

LATE_SECONDS: Final = 90.0
"""The API server ends a request after 60 s: one that was sent longer ago is no longer carried out."""

LATE_RETRY_SECONDS: Final = 5.0

_ANY: Final = msgspec.json.Decoder()

log = structlog.get_logger()


class FleetWrites:
    """Of one pass. Each write builds on the answer of the one before."""

    def __init__(self, store: Store, kube: Kube, memory: FleetMemory, world: World) -> None:
        self._store, self._kube, self._memory, self._world = store, kube, memory, world
        self._resource_version = world.fleet.resource_version if world.fleet is not None else ""

    async def do(self, action: AddFinalizer | RemoveFinalizer | Promote | WriteStatus | SetFleet | DropFleet) -> None:
        """One action."""
        match action:
            case AddFinalizer() | RemoveFinalizer():
                await self._set_finalizer(is_wanted=isinstance(action, AddFinalizer))
            case Promote():
                await self._promote(action)
            case WriteStatus():
                await self._write_status(action.status)
            case SetFleet():
                self._set_fleet(action.view)
            case DropFleet():
                self._store.drop_fleet(self._world.namespace, self._world.name)
            case _:
                assert_never(action)

    async def _set_finalizer(self, *, is_wanted: bool) -> None:
        fleet = self._world.fleet
        others = [each for each in fleet.finalizers if each != keys.FINALIZER] if fleet is not None else []
        finalizers = [*others, keys.FINALIZER] if is_wanted else others
        await self._patch({"metadata": {"finalizers": finalizers}})

    async def _write_status(self, status: AgentDeploymentStatus) -> None:
        await self._patch({"status": patch_of(status)}, subresource="status")
        self._memory.status_written_at = self._kube.server_now()

    async def _patch(self, body: dict[str, Any], *, subresource: str | None = None) -> None:
        body.setdefault("metadata", {})["resourceVersion"] = self._resource_version
        answer: Any = nesting.decode(
            _ANY,
            await self._kube.merge_patch(
                AGENT_DEPLOYMENTS,
                self._world.namespace,
                self._world.name,
                msgspec.json.encode(body),
                subresource=subresource,
            ),
        )
        self._resource_version = answer["metadata"]["resourceVersion"]

    async def _promote(self, action: Promote) -> None:
        """The switch (rule 3): no pin by what held before it, from when it is sent until its outcome is known."""
        namespace, name = self._world.namespace, self._world.name
        self._store.close_pinning(namespace, name)
        self._memory.promote = UnknownPromote(self._resource_version, self._kube.server_now())
        try:
            await self._write_status(action.status)
        except ClusterError:
            if not await self._has_promoted(action.version):
                raise
        crash.point("promoted")
        self._memory.promote = None
        self._store.open_pinning(namespace, name, action.view)
        log.info("promoted", fleet=name, namespace=namespace, version=action.version)

    async def _has_promoted(self, version: str) -> bool:
        """After a lost answer: whether the fleet's object shows the switch."""
        raw = await self._kube.get(AGENT_DEPLOYMENTS, self._world.namespace, self._world.name)
        found: Any = nesting.decode(_ANY, raw)
        return bool((found.get("status") or {}).get("activeVersion") == version)

    def _set_fleet(self, view: FleetView) -> None:
        if self._store.may_pin((view.namespace, view.name)):
            self._store.set_fleet(view)
            return
        if not self._is_promote_settled():
            raise Unavailable(
                f"cannot open pinning of AgentDeployment {view.namespace}/{view.name}: a promote may still arrive",
                retry_after_seconds=LATE_RETRY_SECONDS,
            )
        self._memory.promote = None
        self._store.open_pinning(view.namespace, view.name, view)

    def _is_promote_settled(self) -> bool:
        """Whether a promote with a lost answer can no longer be carried out.

        A GET that does not show it is not enough: the request may still be under way. Once the fleet has another
        resourceVersion than the request carried, or the API server's own time limit is over, it fails.
        """
        sent = self._memory.promote
        if sent is None or self._resource_version != sent.resource_version:
            return True
        return self._kube.server_now() - sent.sent_at > timedelta(seconds=LATE_SECONDS)


def patch_of(status: Model) -> dict[str, Any]:
    """A status as a merge patch: null takes away what the new one does not have."""
    whole = status.model_dump(mode="json", by_alias=True)
    written: dict[str, Any] = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    return dict.fromkeys(whole) | written
