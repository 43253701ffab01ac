"""AgentRun as the run loop sees it: one flat record, decoded in microseconds, without input and result.

Callers: the store keeps them, ``runs.judge`` and ``runs.place`` decide on them. The pydantic model in ``api.models`` is
the schema's source; this is its fast reading, and a test holds the two together.
"""

from datetime import datetime
from functools import lru_cache
from sys import intern
from typing import Final, Literal, NamedTuple

import msgspec

from pinfleet.wire import NOTHING_SHOWN, InboxMessage, Wait
from pinfleet_operator.api.nesting import VALUE_DEPTH_LIMIT, decode, nests_deeper

Phase = Literal["Pending", "Running", "Parked", "Held", "Succeeded", "Failed", "Cancelled", "TimedOut"]

TERMINAL: Final = frozenset({"Succeeded", "Failed", "Cancelled", "TimedOut"})
"""Phases that are final; a run in any other phase is open."""

ALONE_AT_DEATHS: Final = 2
"""A run that was on so many pods that died under several runs goes on a pod of its own (rule 17)."""

INPUT_LIMIT_BYTES: Final = 32 * 1024
RESULT_LIMIT_BYTES: Final = 16 * 1024
MESSAGE_LIMIT_BYTES: Final = 16 * 1024

GITOPS_MARKS: Final = (
    "argocd.argoproj.io/tracking-id",
    "argocd.argoproj.io/instance",
    "kustomize.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/name",
)
"""Labels and annotations by which a GitOps tool tracks an object; such a run is never deleted for its age."""


class StampedLimits(msgspec.Struct, frozen=True, kw_only=True, gc=False, rename="camel", omit_defaults=True):
    """The bounds of one run, as its status says them from its pin on."""

    max_steps: int
    active_seconds: int  # wall clock on pods, over all executions
    deadline_seconds: int  # from the run's creation
    max_attempts: int
    max_tokens: int | None = None  # of recorded steps, when another one begins; None: no bound


class Limits(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """The same without names, as records keep them."""

    max_steps: int
    active_seconds: int
    deadline_seconds: int
    max_attempts: int
    max_tokens: int | None = None

    @property
    def stamped(self) -> StampedLimits:
        """As they are written."""
        return msgspec.convert(self, StampedLimits, from_attributes=True)


class RequestedLimits(msgspec.Struct, frozen=True, kw_only=True, gc=False, rename="camel"):
    """What ``spec.task.limits`` asks for; None: the fleet's."""

    max_steps: int | None = None
    active_seconds: int | None = None
    deadline_seconds: int | None = None
    max_attempts: int | None = None
    max_tokens: int | None = None


class RunRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False, array_like=True):
    """One AgentRun, flat."""

    uid: str
    namespace: str
    name: str
    resource_version: int
    generation: int
    created_at: datetime
    deleting: bool  # has a deletionTimestamp
    gitops: bool  # tracked by a GitOps tool
    fleet: str
    requested_version: str | None
    requested_limits: RequestedLimits | None
    cancel: bool
    input_bytes: int
    phase: Phase
    version: str | None  # the pin
    pod: str | None
    pod_uid: str | None
    boot: str | None
    epoch: int  # 0: never assigned
    attempts: int
    pod_deaths: int  # of pods that held it beside others, since it last made progress alone
    limits: Limits | None  # None before the pin
    steps: int
    steps_at_attempt: int
    waiting_for: tuple[Wait, ...]  # without what they show to people
    timers_fired: tuple[str, ...]
    assigned_at: datetime | None
    deadline_at: datetime | None
    started_at: datetime | None
    parked_at: datetime | None
    ended_at: datetime | None
    active_seconds: int
    reason: str
    message: str
    reason_since: datetime | None  # since when the Succeeded condition has this reason
    is_input_too_deep: bool = False  # over VALUE_DEPTH_LIMIT; then input_bytes may count a part alone
    requester: str | None = None  # who asked for it; the API server let nobody else be named
    messages: int = 0  # in spec.messages
    unfit_message: str = ""  # what is wrong with one of them; "": nothing
    messages_seen: int = 0  # how many of them the run's journal held when it was last written down
    decisions_seen: tuple[str, ...] = ()  # hashes of the decisions in it, likewise

    @property
    def is_open(self) -> bool:
        """Whether the run has not ended."""
        return self.phase not in TERMINAL

    @property
    def is_awake(self) -> bool:
        """Whether the run has a pod, or waits for one: neither ended nor parked nor held."""
        return self.is_open and self.phase not in {"Parked", "Held"}

    @property
    def goes_alone(self) -> bool:
        """Whether no other run may share its pod."""
        return self.pod_deaths >= ALONE_AT_DEATHS


class Kept(NamedTuple):
    """A record as it is kept, at a third of its size: a run may rest for weeks among ten thousands."""

    uid: str  # one text, however many keep it
    packed: bytes  # all but the uid


_PACK: Final = msgspec.msgpack.Encoder()
_UNPACK: Final = msgspec.msgpack.Decoder(RunRecord)
_PACKED: Final = bytearray()  # used again and again: what `encode` returns keeps the room that it was begun with


def pack(run: RunRecord) -> Kept:
    """The record as it is kept; a parked run without its message, which is for people."""
    message = "" if run.phase == "Parked" else run.message
    _PACK.encode_into(msgspec.structs.replace(run, uid="", message=message), _PACKED)
    return Kept(intern(run.uid), bytes(_PACKED))


def unpack(uid: str, packed: bytes) -> RunRecord:
    """The record that is kept."""
    run = _UNPACK.decode(packed)
    msgspec.structs.force_setattr(run, "uid", uid)
    return run


class _Meta(msgspec.Struct, rename="camel"):
    uid: str
    namespace: str
    name: str
    resource_version: str
    creation_timestamp: datetime
    generation: int = 1
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Task(msgspec.Struct, rename="camel"):
    agent_deployment: str
    version: str | None = None
    limits: RequestedLimits | None = None
    input: msgspec.Raw = msgspec.Raw(b"null")
    requester: str | None = None


class _Spec(msgspec.Struct, rename="camel"):
    task: _Task
    cancel: bool = False
    messages: tuple[InboxMessage, ...] = ()


class _Condition(msgspec.Struct, rename="camel"):
    type: str
    last_transition_time: datetime | None = None


class _Status(msgspec.Struct, rename="camel"):
    phase: Phase = "Pending"
    version: str | None = None
    pod: str | None = None
    pod_uid: str | None = msgspec.field(name="podUID", default=None)
    boot: str | None = None
    epoch: int = 0
    attempts: int = 0
    pod_deaths: int = 0
    limits: StampedLimits | None = None
    steps: int = 0
    steps_at_attempt: int = 0
    waiting_for: tuple[Wait, ...] = ()
    timers_fired: tuple[str, ...] = ()
    assigned_at: datetime | None = None
    deadline_at: datetime | None = None
    started_at: datetime | None = None
    parked_at: datetime | None = None
    ended_at: datetime | None = None
    active_seconds: int = 0
    messages_seen: int = 0
    decisions_seen: tuple[str, ...] = ()
    reason: str = ""
    message: str = ""
    conditions: tuple[_Condition, ...] = ()


class _RunObject(msgspec.Struct, rename="camel"):
    metadata: _Meta
    spec: _Spec
    status: _Status = msgspec.field(default_factory=_Status)


_DECODER: Final = msgspec.json.Decoder(_RunObject)


def decode_run(raw: bytes | msgspec.Raw) -> RunRecord:
    """Read an AgentRun's JSON into a record; raises ``msgspec.MsgspecError`` if it does not fit the schema."""
    return _flatten(decode(_DECODER, raw))


def decode_kept(raw: bytes) -> Kept:
    """Read an AgentRun's JSON into a record as it is kept; raises as `decode_run` does."""
    return pack(decode_run(raw))


class Given(msgspec.Struct, frozen=True):
    """What a run is given to work on, undecoded; the store never holds it."""

    input: msgspec.Raw
    messages: tuple[InboxMessage, ...] = ()


def decode_run_and_given(raw: bytes) -> tuple[RunRecord, Given]:
    """Read an AgentRun's JSON into a record and what an offer needs beside it."""
    found = decode(_DECODER, raw)
    return _flatten(found), Given(found.spec.task.input, found.spec.messages)


def without_shown(waits: tuple[Wait, ...]) -> tuple[Wait, ...]:
    """Waits without what they show: the store holds nothing that people are to read, only what decides."""
    return tuple(
        wait if wait.shown is NOTHING_SHOWN else msgspec.structs.replace(wait, shown=NOTHING_SHOWN) for wait in waits
    )


_SHARED: Final = ("version", "pod", "pod_uid", "boot", "reason")
"""Texts of a status that thousands of runs have in common: kept once."""


@lru_cache(maxsize=1024)
def _kept(limits: StampedLimits) -> Limits:
    return Limits(**msgspec.structs.asdict(limits))


def _flatten(found: _RunObject) -> RunRecord:
    meta, task, status = found.metadata, found.spec.task, found.status
    given = bytes(task.input)
    names = {f: getattr(status, f) for f in _Status.__struct_fields__ if f != "conditions"}
    for field in _SHARED:
        if names[field] is not None:
            names[field] = intern(names[field])
    if status.limits is not None:
        names["limits"] = _kept(status.limits)
    names["waiting_for"] = without_shown(status.waiting_for)
    return RunRecord(
        uid=meta.uid,
        namespace=intern(meta.namespace),
        name=meta.name,
        resource_version=int(meta.resource_version),
        generation=meta.generation,
        created_at=meta.creation_timestamp,
        deleting=meta.deletion_timestamp is not None,
        gitops=any(mark in meta.labels or mark in meta.annotations for mark in GITOPS_MARKS),
        fleet=intern(task.agent_deployment),
        requested_version=task.version,
        requested_limits=task.limits,
        cancel=found.spec.cancel,
        input_bytes=_size(given, INPUT_LIMIT_BYTES),
        is_input_too_deep=nests_deeper(given, VALUE_DEPTH_LIMIT),
        requester=task.requester,
        messages=len(found.spec.messages),
        unfit_message=next((why for each in found.spec.messages if (why := _why_unfit(each))), ""),
        reason_since=status.conditions[0].last_transition_time if status.conditions else None,
        **names,
    )


def _why_unfit(message: InboxMessage) -> str:
    body = bytes(message.body)
    if nests_deeper(body, VALUE_DEPTH_LIMIT):
        return f"message {message.id} nests deeper than {VALUE_DEPTH_LIMIT} levels: pass it as text, or by reference"
    size = _size(body, MESSAGE_LIMIT_BYTES)
    if size > MESSAGE_LIMIT_BYTES:
        most = f"{MESSAGE_LIMIT_BYTES} are allowed: pass large things by reference"
        return f"message {message.id} has {size} bytes, {most}"
    return ""


def _size(given: bytes, limit: int) -> int:
    """Bytes of a value as compact JSON; the API server escapes <, > and & into six bytes each."""
    if len(given) <= limit or nests_deeper(given, VALUE_DEPTH_LIMIT):
        return len(given)
    return len(msgspec.json.encode(msgspec.json.decode(given)))
