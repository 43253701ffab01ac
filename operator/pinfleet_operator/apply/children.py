"""Writes to a fleet's versions, their Secrets and pods. Caller: ``apply``."""

import asyncio
from collections.abc import Callable
from typing import Final, assert_never

import msgspec
import structlog

from pinfleet_operator.api import keys
from pinfleet_operator.api.child import VersionRecord, decode_pod
from pinfleet_operator.api.run import RunRecord, decode_run
from pinfleet_operator.apply.fleet import patch_of
from pinfleet_operator.errors import ClusterError, Conflict, Forbidden, NotFound, Rejected, Unavailable
from pinfleet_operator.kube.api import Kube
from pinfleet_operator.kube.listing import list_all
from pinfleet_operator.kube.resources import AGENT_RUNS, AGENT_VERSIONS, PODS, SECRETS, Resource
from pinfleet_operator.plan import naming
from pinfleet_operator.plan.actions import (
    ConfirmAsleep,
    ConfirmEmpty,
    CordonPod,
    CreatePod,
    CreateVersion,
    DeletePod,
    DeleteVersion,
    MirrorStatus,
    WriteSecret,
)
from pinfleet_operator.plan.memory import FleetMemory, Verdict
from pinfleet_operator.plan.render import own_labels, owner_reference, pod_object
from pinfleet_operator.plan.words import cut
from pinfleet_operator.plan.world import Refusal, World
from pinfleet_operator.store import Store

SETTLE_SECONDS: Final = 5.0

log = structlog.get_logger()


class Children:
    """Of one pass."""

    def __init__(
        self, store: Store, kube: Kube, memory: FleetMemory, world: World, token_of: Callable[[str], str]
    ) -> None:
        self._store, self._kube, self._memory, self._world, self._token_of = store, kube, memory, world, token_of
        self._namespace, self._fleet = world.namespace, world.name
        self.refused: set[str] = set()  # uids of versions whose pods were refused in this pass

    async def do_version(
        self, action: CreateVersion | DeleteVersion | MirrorStatus | ConfirmEmpty | ConfirmAsleep | WriteSecret
    ) -> None:
        """One action on a version or its Secret."""
        match action:
            case CreateVersion():
                await self._create_version(action)
            case DeleteVersion():
                await self._delete(AGENT_VERSIONS, action)
            case MirrorStatus():
                await self._mirror(action)
            case ConfirmEmpty():
                await self._confirm_empty(action)
            case ConfirmAsleep():
                await self._confirm_asleep(action)
            case WriteSecret():
                await self._write_secret(action)
            case _:
                assert_never(action)

    async def do_pod(self, action: CreatePod | CordonPod | DeletePod) -> None:
        """One action on a pod."""
        match action:
            case CreatePod():
                if action.version_uid not in self.refused:
                    await self._create_pod(action)
            case CordonPod():
                await self._cordon(action)
            case DeletePod():
                await self._delete(PODS, action)
            case _:
                assert_never(action)

    # Versions

    async def _create_version(self, action: CreateVersion) -> None:
        spec = action.spec
        body = {
            "apiVersion": keys.API_VERSION,
            "kind": "AgentVersion",
            "metadata": {
                "name": naming.version_name(spec.fleet, spec.id),
                "namespace": self._namespace,
                "labels": own_labels(spec.fleet, spec.fleet_uid, spec.id),
            },
            # The template goes as it was rendered: a null in it is the author's.
            "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True) | {"template": spec.template},
        }
        try:
            answer = await self._kube.create(AGENT_VERSIONS, self._namespace, msgspec.json.encode(body))
        except Rejected as err:  # the next pass says so on the fleet
            self._memory.verdict = Verdict(spec.spec_hash, str(err), self._world.now)
            raise
        self._store.put_version(answer)

    async def _mirror(self, action: MirrorStatus) -> None:
        body = {"metadata": {"resourceVersion": str(action.resource_version)}, "status": patch_of(action.status)}
        answer = await self._kube.merge_patch(
            AGENT_VERSIONS, self._namespace, action.name, msgspec.json.encode(body), subresource="status"
        )
        self._store.put_version(answer)

    async def _confirm_empty(self, action: ConfirmEmpty) -> None:
        """Rule 7: what is in flight settles first, then the count is read consistently."""
        if not self._world.settings.has_rule("7"):
            self._store.confirm_empty(action.version_uid, int(self._world.counted_at))
            return
        runs, resource_version = await self._runs_of(action.version)
        still_open = sum(run.is_open for run in runs)
        if still_open:
            raise Conflict(
                f"cannot retire AgentVersion {self._namespace}/{naming.version_name(self._fleet, action.version)}: "
                f"{still_open} runs are open that the watch has not shown yet"
            )
        self._store.confirm_empty(action.version_uid, resource_version)

    async def _confirm_asleep(self, action: ConfirmAsleep) -> None:
        if not self._world.settings.has_rule("7"):
            self._store.confirm_asleep(action.version_uid, int(self._world.counted_at))
            return
        runs, resource_version = await self._runs_of(action.version)
        awake = sum(run.is_awake for run in runs)
        if awake:
            where = f"{self._namespace}/{naming.version_name(self._fleet, action.version)}"
            raise Conflict(f"cannot let AgentVersion {where} sleep: {awake} runs are awake that the watch did not show")
        self._store.confirm_asleep(action.version_uid, resource_version)

    async def _runs_of(self, version: str) -> tuple[list[RunRecord], int]:
        """Every run of a version, listed consistently once what is in flight to it has settled."""
        await self._settled(version)
        await self._outlive_former_leader(version)
        listing = await list_all(
            self._kube,
            AGENT_RUNS,
            namespace=self._namespace,
            field_selector=f"spec.task.agentDeployment={self._fleet},status.version={version}",
        )
        return [decode_run(item) for item in listing.items], int(listing.resource_version)

    async def _outlive_former_leader(self, version: str) -> None:
        """A pin that a former leader has sent may still arrive: wait it out, if a run is left that it could pin."""
        may_pin = self._store.flights.may_be_a_former_leaders
        if not may_pin(0, self._kube.server_now()):
            return
        listing = await list_all(
            self._kube,
            AGENT_RUNS,
            namespace=self._namespace,
            field_selector=f"spec.task.agentDeployment={self._fleet},status.version=",
        )
        now = self._kube.server_now()
        waiting = [run for raw in listing.items if (run := decode_run(raw)).is_open and not run.version]
        late = [run.name for run in waiting if may_pin(run.resource_version, now)]
        if late:
            where = f"{self._namespace}/{naming.version_name(self._fleet, version)}"
            raise Unavailable(
                f"cannot count the runs of AgentVersion {where}: a former leader may still pin {late[0]} to it"
            )

    async def _settled(self, version: str) -> None:
        """Wait for assignments in flight, but not for long: this worker serves other fleets too."""
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._store.flights.settled((self._namespace, self._fleet, version))
        except TimeoutError as err:
            where = f"{self._namespace}/{naming.version_name(self._fleet, version)}"
            why = "the outcome of an assignment is unknown"
            raise Unavailable(f"cannot count the runs of AgentVersion {where}: {why}") from err

    async def _write_secret(self, action: WriteSecret) -> None:
        """Patch first: where pods are it exists, and after a failover there are many.

        The operator cannot read whose Secret it is. But a type never changes: the API server refuses to merge ours
        into a Secret of another kind, so that nobody's own is overwritten, and collected with the version.
        """
        record = self._record(action.version_uid)
        name = naming.secret_name(self._fleet, action.version)
        body = msgspec.json.encode(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": keys.SECRET_TYPE,
                "metadata": {
                    "name": name,
                    "namespace": self._namespace,
                    "labels": own_labels(self._fleet, record.fleet_uid, action.version),
                    "ownerReferences": [owner_reference(record.name, record.uid)],
                },
                "stringData": {"token": self._token_of(record.uid)},
            }
        )
        try:
            try:
                await self._kube.merge_patch(SECRETS, self._namespace, name, body)
            except NotFound:
                await self._kube.create(SECRETS, self._namespace, body)
        except (Forbidden, Rejected) as err:
            what = f"Secret {self._namespace}/{name}, which holds the version's token"
            hint = f"if there is one that is not of type {keys.SECRET_TYPE}, rename or delete it"
            self._note_refusal(record.uid, Rejected(f"cannot write {what}; {hint}: {err}"))
            return
        self._memory.secrets[record.uid] = self._kube.server_now()
        self._memory.refusals.pop(record.uid, None)

    # Pods

    async def _create_pod(self, action: CreatePod) -> None:
        record = self._record(action.version_uid)
        body = pod_object(
            msgspec.json.decode(record.template),
            namespace=self._namespace,
            name=action.name,
            owner=owner_reference(record.name, record.uid),
        )
        try:
            answer = await self._kube.create(PODS, self._namespace, msgspec.json.encode(body))
        except Conflict:
            await self._adopt(action)
            return
        except (Forbidden, Rejected) as err:
            self._note_refusal(record.uid, err)
            return
        self._store.put_pod(answer)
        self._memory.refusals.pop(record.uid, None)

    async def _adopt(self, action: CreatePod) -> None:
        """The name is taken: by our own pod that the watch has not shown yet, or by somebody else's."""
        raw = await self._kube.get(PODS, self._namespace, action.name)
        if decode_pod(raw).version_uid == action.version_uid:
            self._store.put_pod(raw)
            return
        where = f"{self._namespace}/{action.name}"
        self._note_refusal(action.version_uid, Conflict(f"cannot create Pod {where}: another pod has that name"))

    async def _cordon(self, action: CordonPod) -> None:
        fence = {"resourceVersion": str(action.resource_version)} if self._world.settings.has_rule("8") else {}
        body = {"metadata": {"uid": action.uid, **fence, "labels": {keys.LABEL_CORDONED: "true"}}}
        answer = await self._kube.merge_patch(PODS, self._namespace, action.name, msgspec.json.encode(body))
        self._store.put_pod(answer)

    async def _delete(self, resource: Resource, action: DeletePod | DeleteVersion) -> None:
        try:
            await self._kube.delete(
                resource,
                self._namespace,
                action.name,
                uid=action.uid,
                resource_version=str(action.resource_version) if self._world.settings.has_rule("8") else None,
            )
        except NotFound:
            return

    def _note_refusal(self, version_uid: str, err: ClusterError) -> None:
        before = self._memory.refusals.get(version_uid)
        times = before.times + 1 if before is not None else 1
        self._memory.refusals[version_uid] = Refusal(cut(str(err)), times, self._kube.server_now())
        self.refused.add(version_uid)
        log.warning("pods_refused", fleet=self._fleet, namespace=self._namespace, cause=str(err))

    def _record(self, version_uid: str) -> VersionRecord:
        return next(each.record for each in self._world.versions if each.record.uid == version_uid)
