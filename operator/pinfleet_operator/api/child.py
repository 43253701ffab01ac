"""The objects that pinfleet makes, as the store keeps them: a version and its pods.

Callers: the store decodes them from the watch; ``plan`` and ``runs.place`` decide on them.
"""

from datetime import datetime
from typing import Final, Literal

import msgspec

from pinfleet_operator.api import keys
from pinfleet_operator.api.nesting import VALUE_DEPTH_LIMIT, decode, nests_deeper

PodPhase = Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]


class PodRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One pod of a version."""

    uid: str
    namespace: str
    name: str
    resource_version: int
    created_at: datetime
    fleet: str
    version: str  # the version's id
    version_uid: str  # uid of its controller owner, the AgentVersion; "": it has none
    phase: PodPhase
    ready: bool  # Kubernetes condition Ready
    ready_since: datetime | None  # last transition of that condition, either way
    scheduled: bool
    ip: str | None
    node: str | None
    cordoned: bool
    deleting: bool
    disrupted: bool  # deleted, evicted or about to be: its death is nobody's fault
    exit_code: int | None  # of the agent's container, once it ended
    termination_message: str  # its last words, after a word of the kubelet's such as OOMKilled; "": none
    waiting_reason: str  # why a container does not start, such as ErrImagePull; "": it does
    waiting_message: str

    @property
    def is_terminal(self) -> bool:
        """Whether no process of this pod can act any more."""
        return self.phase in {"Succeeded", "Failed"}


class VersionRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One AgentVersion; its rendered template is kept as JSON text and decoded only to make a pod."""

    uid: str
    namespace: str
    name: str  # <fleet>.<id>
    resource_version: int
    created_at: datetime
    deleting: bool
    fleet: str
    fleet_uid: str
    id: str
    revision: int
    spec_hash: str
    port: int
    runs_per_pod: int
    claim_name: str | None  # the journal's claim, if it is on one
    schema_version: int
    template: msgspec.Raw  # pod template as rendered when the version was made
    status: msgspec.Raw  # as stored; only compared with what is to be written
    state_secret_name: str | None = None  # holds the URL of the journal's database, if it is in one

    @property
    def keeps_journal(self) -> bool:
        """Whether the journal outlives its pods."""
        return self.claim_name is not None or self.state_secret_name is not None


class _Owner(msgspec.Struct):
    kind: str
    uid: str
    controller: bool = False


class _Meta(msgspec.Struct, rename="camel"):
    uid: str
    namespace: str
    name: str
    resource_version: str
    creation_timestamp: datetime
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = {}
    owner_references: tuple[_Owner, ...] = ()


class _PodCondition(msgspec.Struct, rename="camel"):
    type: str
    status: str
    last_transition_time: datetime | None = None


_SAYS_NOTHING: Final = {"", "Error", "Completed"}  # reasons that add nothing to an exit code


class _Terminated(msgspec.Struct, rename="camel"):
    exit_code: int = 0
    reason: str = ""
    message: str = ""

    @property
    def last_words(self) -> str:
        """Why it ended in the kubelet's word where that says more than the exit code, and what it said itself."""
        return ": ".join(filter(None, ["" if self.reason in _SAYS_NOTHING else self.reason, self.message]))


class _Waiting(msgspec.Struct):
    reason: str = ""
    message: str = ""


class _State(msgspec.Struct):
    terminated: _Terminated | None = None
    waiting: _Waiting | None = None


class _ContainerStatus(msgspec.Struct):
    name: str
    state: _State = msgspec.field(default_factory=_State)


class _PodSpec(msgspec.Struct, rename="camel"):
    node_name: str | None = None


class _PodStatus(msgspec.Struct, rename="camel"):
    phase: PodPhase = "Pending"
    reason: str = ""
    pod_ip: str | None = msgspec.field(name="podIP", default=None)
    conditions: tuple[_PodCondition, ...] = ()
    container_statuses: tuple[_ContainerStatus, ...] = ()


class _PodObject(msgspec.Struct):
    metadata: _Meta
    spec: _PodSpec = msgspec.field(default_factory=_PodSpec)
    status: _PodStatus = msgspec.field(default_factory=_PodStatus)


_POD: Final = msgspec.json.Decoder(_PodObject)


def decode_pod(raw: bytes | msgspec.Raw) -> PodRecord:
    """Read a pod's JSON; raises ``msgspec.MsgspecError`` if it is none."""
    found = decode(_POD, raw)
    meta, status = found.metadata, found.status
    conditions = {c.type: c for c in status.conditions}
    agent = _agent_status(status.container_statuses)
    ended = agent.state.terminated if agent else None
    waiting = agent.state.waiting if agent else None
    ready = conditions.get("Ready")
    return PodRecord(
        uid=meta.uid,
        namespace=meta.namespace,
        name=meta.name,
        resource_version=int(meta.resource_version),
        created_at=meta.creation_timestamp,
        fleet=meta.labels.get(keys.LABEL_FLEET, ""),
        version=meta.labels.get(keys.LABEL_VERSION, ""),
        version_uid=next((o.uid for o in meta.owner_references if o.controller and o.kind == "AgentVersion"), ""),
        phase=status.phase,
        ready=ready is not None and ready.status == "True",
        ready_since=ready.last_transition_time if ready else None,
        scheduled=found.spec.node_name is not None,
        ip=status.pod_ip,
        node=found.spec.node_name,
        cordoned=meta.labels.get(keys.LABEL_CORDONED) == "true",
        deleting=meta.deletion_timestamp is not None,
        disrupted=(
            meta.deletion_timestamp is not None
            or status.reason == "Evicted"
            or _is_true(conditions, "DisruptionTarget")
        ),
        exit_code=ended.exit_code if ended else None,
        termination_message=ended.last_words if ended else "",
        waiting_reason=waiting.reason if waiting else "",
        waiting_message=waiting.message if waiting else "",
    )


def _agent_status(statuses: tuple[_ContainerStatus, ...]) -> _ContainerStatus | None:
    named = next((s for s in statuses if s.name == keys.AGENT_CONTAINER), None)
    return named or (statuses[0] if statuses else None)


def _is_true(conditions: dict[str, _PodCondition], kind: str) -> bool:
    return kind in conditions and conditions[kind].status == "True"


class _Sqlite(msgspec.Struct, rename="camel"):
    claim_name: str


class _Postgres(msgspec.Struct, rename="camel"):
    secret_name: str


class _StateSpec(msgspec.Struct):
    sqlite: _Sqlite | None = None
    postgres: _Postgres | None = None


class _VersionSpec(msgspec.Struct, rename="camel"):
    fleet: str
    fleet_uid: str = msgspec.field(name="fleetUID")
    id: str
    revision: int
    spec_hash: str
    template: msgspec.Raw
    port: int
    runs_per_pod: int
    schema_version: int = 1
    state: _StateSpec | None = None


class _VersionObject(msgspec.Struct):
    metadata: _Meta
    spec: _VersionSpec
    status: msgspec.Raw = msgspec.Raw(b"{}")


_VERSION: Final = msgspec.json.Decoder(_VersionObject)


def decode_version(raw: bytes | msgspec.Raw) -> VersionRecord:
    """Read an AgentVersion's JSON; raises ``msgspec.MsgspecError`` if it does not fit the schema."""
    found = decode(_VERSION, raw)
    meta, spec = found.metadata, found.spec
    if nests_deeper(bytes(spec.template), VALUE_DEPTH_LIMIT):  # a part may be missing; no pod is made from the rest
        raise msgspec.ValidationError(f"spec.template nests deeper than {VALUE_DEPTH_LIMIT} levels")
    return VersionRecord(
        uid=meta.uid,
        namespace=meta.namespace,
        name=meta.name,
        resource_version=int(meta.resource_version),
        created_at=meta.creation_timestamp,
        deleting=meta.deletion_timestamp is not None,
        fleet=spec.fleet,
        fleet_uid=spec.fleet_uid,
        id=spec.id,
        revision=spec.revision,
        spec_hash=spec.spec_hash,
        port=spec.port,
        runs_per_pod=spec.runs_per_pod,
        claim_name=spec.state.sqlite.claim_name if spec.state and spec.state.sqlite else None,
        state_secret_name=spec.state.postgres.secret_name if spec.state and spec.state.postgres else None,
        schema_version=spec.schema_version,
        template=msgspec.Raw(bytes(spec.template)),
        status=msgspec.Raw(bytes(found.status)),
    )
