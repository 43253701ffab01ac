"""Reads the world for a fleet's pass: the fleet itself consistently, the rest from the store.

Caller: ``reconcile``. It decides nothing; what it cannot read it raises, and the pass is made again later. Counts and
their resourceVersion are read without a pause between them.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec
from pydantic import ValidationError

from pinfleet_operator.api import nesting
from pinfleet_operator.api.child import PodRecord, VersionRecord
from pinfleet_operator.api.mirror import PodMirror
from pinfleet_operator.api.models.agent_deployment import AgentDeploymentSpec, AgentDeploymentStatus
from pinfleet_operator.api.models.agent_version import AgentVersionSpec
from pinfleet_operator.api.models.base import Model, ObjectMeta
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.errors import Forbidden, NotFound, Rejected
from pinfleet_operator.kube.api import Kube
from pinfleet_operator.kube.resources import AGENT_DEPLOYMENTS, NAMESPACES, PODS, PVCS
from pinfleet_operator.plan import naming
from pinfleet_operator.plan.desired import Desired, Finding, find_desired
from pinfleet_operator.plan.memory import FleetMemory, Memory, Read, Verdict, note
from pinfleet_operator.plan.render import pod_object
from pinfleet_operator.plan.words import cut
from pinfleet_operator.plan.world import FleetState, LostVersion, PodView, Reach, VersionView, World
from pinfleet_operator.store import Store

_ANY: Final = msgspec.json.Decoder()

M = TypeVar("M", bound=Model)


@dataclass(frozen=True)
class _Asked:
    """What was asked of the API server for one pass."""

    fleet: FleetState | None
    is_namespace_ending: bool
    template_error: str | None = None
    is_claim_missing: bool = False


class Observer:
    """Makes a ``World`` of one fleet at a time."""

    def __init__(self, *, store: Store, kube: Kube, memory: Memory, settings: Settings) -> None:
        self._store, self._kube, self._memory, self._settings = store, kube, memory, settings

    async def observe(self, namespace: str, name: str) -> World:
        """Everything that a pass over the fleet decides on.

        Raises:
            ClusterError: something could not be read; nothing is decided then.
        """
        fleet = await self._fleet(namespace, name)
        is_ending = fleet is None or fleet.is_deleting
        asked = _Asked(fleet, is_ending and await self._is_namespace_ending(namespace))
        world = self._world(namespace, name, asked)
        found = find_desired(world) if world.is_synced else None
        draft, claim = _doubts(found)
        if draft is None and claim is None:  # as good as always
            return world
        error = await self._template_error(world, draft) if draft is not None else None
        is_missing = claim is not None and await self._is_claim_missing(namespace, claim)
        asked = replace(asked, template_error=error, is_claim_missing=is_missing)
        return self._world(namespace, name, asked)  # again: the store went on while the API server was asked

    # Of the API server

    async def _fleet(self, namespace: str, name: str) -> FleetState | None:
        try:
            text = await self._kube.get(AGENT_DEPLOYMENTS, namespace, name)
        except NotFound:
            return None
        memory = self._memory.of((namespace, name))
        if memory.read is None or memory.read.text != text:
            memory.read = Read(text, _state_of(text, f"AgentDeployment {namespace}/{name}"))
        return memory.read.fleet

    async def _is_namespace_ending(self, namespace: str) -> bool:
        try:
            found: Any = msgspec.json.decode(await self._kube.get(NAMESPACES, None, namespace))
        except NotFound:
            return True
        return "deletionTimestamp" in found.get("metadata", {})

    async def _template_error(self, world: World, draft: AgentVersionSpec) -> str | None:
        """Ask the API server about the pods of a version that is to be made; its answer holds for the spec's hash."""
        memory = self._of(world)
        known = memory.verdict
        # What refuses a template may be a changing policy.
        fresh_after = world.now - timedelta(seconds=self._settings.rejected_seconds)
        if known is None or known.spec_hash != draft.spec_hash:
            known = None
        if known is not None and (known.error is None or known.asked_at > fresh_after):
            return known.error
        name = naming.pod_name_of(world.name, draft.id, 0)
        body = pod_object(draft.template, namespace=world.namespace, name=name, owner=None)
        error: str | None = None
        try:
            await self._kube.create(PODS, world.namespace, msgspec.json.encode(body), dry_run=True)
        except Rejected as err:
            error = str(err)
        except Forbidden:
            pass  # quota, Pod Security: the template is valid; the version's own pods will say what refuses them
        memory.verdict = Verdict(draft.spec_hash, error, world.now)
        return error

    async def _is_claim_missing(self, namespace: str, claim: str) -> bool:
        try:
            await self._kube.get(PVCS, namespace, claim)
        except NotFound:
            return True
        return False

    # Of the store

    def _world(self, namespace: str, name: str, asked: _Asked) -> World:
        store, now = self._store, self._kube.server_now()
        memory = self._memory.of((namespace, name))
        records = store.versions_of(namespace, name)
        pods = {record.uid: store.pods_of(record.uid) for record in records}
        memory.keep(set(pods), {pod.uid for each in pods.values() for pod in each})
        view = store.catalog.get((namespace, name))
        return World(
            namespace=namespace,
            name=name,
            now=now,
            fleet=asked.fleet,
            versions=tuple(self._version(record, pods[record.uid], memory, now) for record in records),
            lost=self._lost(namespace, name, asked.fleet, {record.id for record in records}),
            unpinned=store.unpinned(namespace, name),
            counted_at=store.watched_resource_version,
            is_synced=store.is_synced,
            reach=Reach(*self._store.reach()),
            is_namespace_ending=asked.is_namespace_ending,
            takes_no_pins=view is None or view.is_deleting,
            template_error=asked.template_error,
            is_claim_missing=asked.is_claim_missing,
            status_written_at=memory.status_written_at,
            settings=self._settings,
        )

    def _version(
        self, record: VersionRecord, pods: tuple[PodRecord, ...], memory: FleetMemory, now: datetime
    ) -> VersionView:
        counts = self._store.counts(record.namespace, record.fleet, record.id)
        return VersionView(
            record=record,
            counts=counts,
            due=self._store.due(record.namespace, record.fleet, record.id, now),
            next_due_at=self._store.runs.timers.next_at((record.namespace, record.fleet, record.id)),
            alone=self._store.alone(record.namespace, record.fleet, record.id, now),
            pods=tuple(self._pod(pod, memory, now) for pod in pods),
            is_confirmed_empty=self._store.confirmed_empty(record.uid),
            is_confirmed_asleep=self._store.confirmed_asleep(record.uid),
            empty_since=note(memory.empty_versions, record.uid, now, holds=counts.open == 0),
            secret_written_at=memory.secrets.get(record.uid),
            refusal=memory.refusals.get(record.uid),
        )

    def _pod(self, record: PodRecord, memory: FleetMemory, now: datetime) -> PodView:
        store = self._store
        mirror = store.mirror(record.uid)
        # What a dead pod once listed no longer counts: it can neither go on with it nor be acked.
        runs = len(store.runs.assigned_to(record.uid)) if record.is_terminal else store.runs_on(record.uid)
        return PodView(
            record=record,
            runs=runs,
            has_answered=mirror is not None and mirror.has_answered,
            answers=mirror is not None and _answers(record, mirror),
            failing_since=mirror.failing_since if mirror is not None else None,
            capacity=mirror.capacity if mirror is not None else 0,
            is_closed=record.uid in store.closed,
            is_taken_alone=self._settings.has_rule("17") and store.is_taken_alone(record.uid),
            empty_since=note(memory.empty_pods, record.uid, now, holds=runs == 0),
            deleting_since=note(memory.deleting_pods, record.uid, now, holds=record.deleting),
        )

    def _lost(self, namespace: str, name: str, fleet: FleetState | None, known: set[str]) -> tuple[LostVersion, ...]:
        if fleet is None:
            return ()
        found = []
        for each in fleet.status.versions:
            counts = self._store.counts(namespace, name, each.name)
            if each.name not in known and counts.open > 0:
                found.append(LostVersion(each.name, counts))
        return tuple(found)

    def _of(self, world: World) -> FleetMemory:
        return self._memory.of((world.namespace, world.name))


def _doubts(found: Finding | None) -> tuple[AgentVersionSpec | None, str | None]:
    """What the API server must be asked about: the version that is to be made, and a claim while nothing uses it."""
    if not isinstance(found, Desired):
        return None, None
    existing = found.existing
    return found.draft, existing.record.claim_name if existing is not None and not existing.live else None


def _state_of(text: bytes, where: str) -> FleetState:
    raw = nesting.decode(_ANY, text)
    meta = _required(ObjectMeta, raw.get("metadata"), where)
    spec: AgentDeploymentSpec | None = None
    error = ""
    try:
        spec = AgentDeploymentSpec.model_validate(raw.get("spec"))
    except ValidationError as err:
        error = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in err.errors())
    if nesting.nests_deeper(text, nesting.VALUE_DEPTH_LIMIT):
        spec, error = None, f"the manifest nests more than {nesting.VALUE_DEPTH_LIMIT} levels deep"
    return FleetState(
        uid=meta.uid,
        generation=meta.generation,
        resource_version=meta.resource_version,
        spec=spec,
        spec_error=cut(error),
        status=_required(AgentDeploymentStatus, raw.get("status") or {}, where),
        is_deleting=meta.deletion_timestamp is not None,
        finalizers=meta.finalizers,
    )


def _answers(record: PodRecord, mirror: PodMirror) -> bool:
    is_right = mirror.has_answered and mirror.version == record.version
    return is_right and mirror.failing_since is None and not mirror.draining


def _required(model: type[M], raw: Any, where: str) -> M:
    """A part that the API server's schema guarantees."""
    try:
        return model.model_validate(raw)
    except ValidationError as err:
        raise Rejected(f"cannot read {where}: {err.errors()[0]['msg']}") from err
