"""AgentRun: one thread of work, from its input to its result.

Source of ``crds/agentruns.yaml``. The run loop reads runs by ``api.run``, which is a fast reading of the same fields;
the rules here are the API server's last word on what the loop may write.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from pinfleet_operator.api.models.base import AnyJson, Column, Crd, Model, Resource, atomic, cel, list_map
from pinfleet_operator.api.models.run_rules import ROOT_RULES, SPEC_RULES, RunPhase
from pinfleet_operator.api.models.values import (
    Attempts,
    Condition,
    Count,
    DnsLabel,
    Generation,
    ObjectName,
    PositiveSeconds,
    Reason,
    Steps,
    Tokens,
    Uid,
)

WaitId = Annotated[str, Field(min_length=1, max_length=512)]

MessageId = Annotated[str, Field(min_length=1, max_length=63)]

RequestHash = Annotated[str, Field(max_length=64, pattern="^([0-9a-f]{64})?$")]
"""sha256 of an approval's request, in hexadecimal digits; empty where a container gave none."""


class RequestedLimits(Model):
    """Lower bounds than the fleet's. Asking for more than the fleet allows ends the run: Failed, LimitsExceedFleet."""

    max_steps: Steps | None = None
    """Most steps that the run may record. Default: the fleet's."""

    max_tokens: Tokens | None = None
    """Most tokens that the run's recorded steps may have used when it begins another one. Default: the fleet's."""

    active_seconds: PositiveSeconds | None = None
    """Most seconds that the run may spend on pods; time spent parked is free. Default: the fleet's."""

    deadline_seconds: PositiveSeconds | None = None
    """Seconds from creation after which the run ends whatever it does. Default: the fleet's."""

    max_attempts: Attempts | None = None
    """How often the run may be executed without progress. Default: the fleet's."""


class Task(Model):
    """What is to be done. Immutable."""

    agent_deployment: DnsLabel
    """Name of the fleet, an AgentDeployment in the same namespace. It may be created later: until then the run is
    Pending.
    """

    input: AnyJson = None
    """The agent's input: any JSON of up to 32 KiB. A larger one makes the run end as Failed with reason InputTooLarge:
    put large things elsewhere and pass where they are.
    """

    version: DnsLabel | None = None
    """Id of the version to run on, which must be active or the candidate; otherwise the run ends as Failed with reason
    VersionNotLive. Default: the version that is active when the run gets its first pod."""

    requester: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Who asks for the run: must be the user name of whoever creates it. A run's own requester cannot approve what it
    asks for. Default: nobody is named.
    """

    limits: RequestedLimits | None = None
    """Bounds of this run, where they are to be lower than the fleet's."""


class RunMessage(Model):
    """One message to the run."""

    id: MessageId
    """Identity of the message: the same id again is the same message, and is refused. The sender chooses it."""

    body: AnyJson
    """Any JSON but null, of up to 16 KiB. A larger one ends the run as Failed with reason UnfitMessage."""


class AgentRunSpec(Model):
    """What is to be done, what was said to the run since, and whether it is still wanted."""

    model_config = ConfigDict(json_schema_extra=cel(*SPEC_RULES))

    task: Task
    """What is to be done. Immutable: to do something else, create another AgentRun."""

    messages: Annotated[tuple[RunMessage, ...], Field(max_length=256, json_schema_extra=list_map("id"))] = ()
    """Messages to the run, in their order. Messages can only be added, at the end. A parked run is woken by one; its
    code gets it from ctx.receive. Default: none.
    """

    cancel: bool = False
    """Set to true to end the run as Cancelled. Its code sees it at its next await and may clean up. It cannot be taken
    back. Default: false.
    """


class StampedLimits(Model):
    """The run's bounds, fixed when it was pinned."""

    max_steps: Steps
    """Most steps that the run may record."""

    max_tokens: Tokens | None = None
    """Most tokens that the run's recorded steps may have used when it begins another one; absent: no limit."""

    active_seconds: PositiveSeconds
    """Most seconds that the run may spend on pods."""

    deadline_seconds: PositiveSeconds
    """Seconds from creation after which the run ends."""

    max_attempts: Attempts
    """How often the run may be executed without progress."""


class RunWait(Model):
    """One thing that a run waits for."""

    id: WaitId
    """Identity of the wait within the run."""

    kind: Literal["Timer", "Approval", "Message", "Code"]
    """Timer: a time. Approval: a person's decision. Message: a message to the run. Code: something that only its
    process knows, which keeps it on its pod.
    """

    name: Annotated[str, Field(max_length=512)] | None = None
    """What the agent's author called it."""

    until: AwareDatetime | None = None
    """When a timer is due or the wait expires; absent if it has no end."""

    since: AwareDatetime | None = None
    """When the waiting began."""

    hash: RequestHash | None = None
    """Of an approval: the request's hash. It covers what is to be done, its arguments and its expiry; a decision names
    it, so that it cannot be taken for another request's.
    """

    shown: AnyJson = None
    """Of an approval: what the agent's code, never a model, shows to the person who decides; an object of up to 2 KiB,
    and of up to 64 KiB for all of the run's approvals together.
    """

    who: Annotated[str, Field(max_length=512)] | None = None
    """Of an approval: who may decide, in words."""


class AgentRunStatus(Model):
    """How the run stands. Written by the operator only."""

    observed_generation: Generation | None = None
    """The metadata.generation that this status answers to."""

    phase: RunPhase = "Pending"
    """Pending: waits for a pod. Running: a pod holds it. Parked: waits for a time, a person or a message and uses no
    pod. Held: stopped because it cannot be resumed safely. Succeeded, Failed, Cancelled, TimedOut: ended, and final.
    """

    version: DnsLabel | None = None
    """Id of the version that serves the run from its first step to its last. Written once."""

    pod: ObjectName | None = None
    """Pod that holds the run, or held it last."""

    pod_uid: Uid | None = None
    """Uid of that pod."""

    boot: Annotated[str, Field(max_length=64)] | None = None
    """Start of that pod's server: a process that started again is another one."""

    epoch: Count | None = None
    """Number of the assignment to a pod. It never falls; nothing is recorded for an older one."""

    attempts: Count | None = None
    """Executions without progress so far; at limits.maxAttempts the run fails."""

    pod_deaths: Count | None = None
    """Pods that died while they held this run and others. No attempt is charged for them; from 2 on the run gets a pod
    of its own, until it has recorded a step there.
    """

    limits: StampedLimits | None = None
    """The run's bounds, fixed when it was pinned. Written once."""

    steps: Count | None = None
    """Steps recorded so far, over all executions."""

    steps_at_attempt: Count | None = None
    """Steps that were recorded when the current attempt began: more than these are progress."""

    waiting_for: Annotated[tuple[RunWait, ...], Field(max_length=256, json_schema_extra=atomic())] = ()
    """What the run waits for."""

    timers_fired: Annotated[tuple[WaitId, ...], Field(max_length=256, json_schema_extra=atomic())] = ()
    """Timers that were due when the run was assigned, by their id in waitingFor."""

    assigned_at: AwareDatetime | None = None
    """When the run was last assigned to a pod."""

    deadline_at: AwareDatetime | None = None
    """When the run ends whatever it does."""

    started_at: AwareDatetime | None = None
    """When the run was first assigned to a pod."""

    parked_at: AwareDatetime | None = None
    """When the run last gave its pod back."""

    ended_at: AwareDatetime | None = None
    """When the run ended."""

    active_seconds: Count | None = None
    """Whole seconds spent on pods so far, up to the last time that its phase or its pod changed."""

    messages_seen: Count | None = None
    """How many of spec.messages the run has recorded, as of its last park or report."""

    decisions_seen: Annotated[tuple[RequestHash, ...], Field(max_length=256, json_schema_extra=atomic())] = ()
    """Hashes of the decisions that the run has recorded, the latest, as of its last park or report."""

    result: AnyJson = None
    """What the agent returned: any JSON of up to 16 KiB. Absent if it returned null or has not succeeded."""

    reason: Reason | None = None
    """Why the run is in its phase, in one word for programs."""

    message: Annotated[str, Field(max_length=1024)] | None = None
    """Why the run is in its phase, in a sentence for people."""

    conditions: Annotated[tuple[Condition, ...], Field(max_length=32, json_schema_extra=list_map("type"))] = ()
    """Succeeded: Unknown while the run is open, then True or False."""


class AgentRun(Resource):
    """One run of an agent: a thread of work of any length, served by one version from its first step to its last."""

    crd: ClassVar[Crd] = Crd(
        plural="agentruns",
        short_name="arun",
        columns=(
            Column("Fleet", ".spec.task.agentDeployment", description="AgentDeployment that serves it."),
            Column("Version", ".status.version", description="Version that it is pinned to."),
            Column("Phase", ".status.phase", description="Where it is in its life."),
            Column("Steps", ".status.steps", type="integer", description="Steps recorded so far."),
            Column("Pod", ".status.pod", description="Pod that holds it, or held it last."),
            Column("Age", ".metadata.creationTimestamp", type="date"),
            Column("Reason", ".status.reason", priority=1, description="Why it is in its phase."),
        ),
        selectable=(".status.version", ".status.phase", ".spec.task.agentDeployment"),
    )
    model_config = ConfigDict(json_schema_extra=cel(*ROOT_RULES))

    spec: AgentRunSpec
    """What is to be done, and whether it is still wanted."""

    status: AgentRunStatus = AgentRunStatus()
    """How the run stands."""
