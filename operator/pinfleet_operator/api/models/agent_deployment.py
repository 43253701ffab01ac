"""AgentDeployment: a fleet, as its owner describes it and as it stands.

Source of ``crds/agentdeployments.yaml``. ``plan`` reads the spec; its status decides what is active, and nothing else
does.
"""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from pinfleet_operator.api.models.base import AnyObject, Column, Crd, Model, Resource, Rule, cel, list_map
from pinfleet_operator.api.models.values import (
    DNS_LABEL_PATTERN,
    Attempts,
    Condition,
    Count,
    DnsLabel,
    Generation,
    ObjectName,
    Port,
    PositiveSeconds,
    Replicas,
    Retention,
    RunsPerPod,
    SchemaVersion,
    Seconds,
    State,
    Steps,
    Text,
    Tokens,
    VersionPhase,
)

DeletePolicy = Literal["Drain", "Cancel"]

VERSIONS_LISTED: Final = 256
"""Most entries of status.versions."""

LIVE_VERSIONS: Final = 64
"""Most versions of a fleet with pods or open runs; with the records kept as history they fit into the status."""

NAME_RULE: Final = Rule(
    rule=f"self.metadata.name.size() <= 63 && self.metadata.name.matches('{DNS_LABEL_PATTERN}')",
    message=(
        "a fleet's name becomes a label and a part of pod names: write at most 63 lower-case letters, digits and "
        "dashes, beginning and ending with a letter or digit"
    ),
)
REPLICAS_RULE: Final = Rule(
    rule="self.maxReplicas >= self.replicas",
    message="spec.maxReplicas is below spec.replicas: write maxReplicas with at least the number of replicas",
    field_path=".maxReplicas",
)


class FleetLimits(Model):
    """The bounds of every run of the fleet. A run may ask for less, never for more."""

    max_steps: Steps = 1_000
    """Most steps that a run may record over its whole life. At the limit it ends as Failed with reason StepLimit."""

    max_tokens: Tokens | None = None
    """Most tokens that the recorded steps of a run may have used when it begins another one: what is under way then is
    not cut off. Counted by the agent's code, which says what a step used; where nothing does, none are counted. At the
    limit the run ends as Failed with reason TokenLimit. Default: no limit.
    """

    active_seconds: PositiveSeconds = 86_400
    """Most seconds that a run may spend on pods, summed over all its executions; time spent parked is free. At the
    limit it ends as TimedOut with reason ActiveSeconds. Default: one day.
    """

    deadline_seconds: PositiveSeconds = 2_592_000
    """Seconds from a run's creation after which it ends whatever it does, as TimedOut with reason Deadline. Default: 30
    days."""

    max_attempts: Attempts = 3
    """How often a run may be executed without progress before it ends as Failed with reason AttemptsExhausted. A step
    recorded starts the count anew; evictions and node drains are not counted."""


class Drain(Model):
    """How an old version goes away once new runs go to another one."""

    retire_delay_seconds: Annotated[int, Field(ge=0, le=604_800)] = 0
    """Seconds that a drained version keeps its pods after its last run ended, so that going back to it is instant.
    Default: 0, it retires at once.
    """


class Approvals(Model):
    """What the fleet's approvals need."""

    four_eyes: bool = False
    """Fails runs that do not name their requester, so that nobody approves what they asked for themselves. Default:
    false; a requester that is named cannot approve in any case.
    """


class AgentDeploymentSpec(Model):
    """What the fleet should be. Changing the template, port, runsPerPod, state or schemaVersion makes a new version."""

    model_config = ConfigDict(json_schema_extra=cel(REPLICAS_RULE))

    template: AnyObject
    """Pod template of the agents: metadata (labels, annotations) and spec, as in a Deployment. The agent is the
    container named agent, or the only one. It is checked by a dry run of the pod; what is wrong with it is said in
    condition Accepted.
    """

    version: DnsLabel | None = None
    """Name of the version that this spec describes, such as v2. Change it whenever the template changes: a name that
    is used again for another template is refused (Accepted=False, VersionNameReused). Without it the version is named
    by a hash.
    """

    replicas: Replicas = 1
    """Fewest pods of the active version. With 0 it has pods only while it has work. Default: 1."""

    max_replicas: Annotated[int, Field(ge=1, le=1_000)] = 10
    """Most pods of one version, however much work there is; runs beyond them wait as Pending or Parked. Default: 10."""

    runs_per_pod: RunsPerPod = 10
    """Most runs that one pod executes at the same time. Default: 10."""

    port: Port = 8080
    """Port on which the agent's container serves the run protocol. Default: 8080."""

    limits: FleetLimits = FleetLimits()
    """Bounds of every run of the fleet, and the default of each. They are stamped into a run when it is pinned;
    changing them touches no run that is under way.
    """

    state: State | None = None
    """Where the agents keep their journals. Without it each pod keeps its own, which goes with it: a run that loses its
    pod, or goes on after a wait on another one, starts again from its input.
    """

    schema_version: SchemaVersion = 1
    """Version of the agents' own state, as the code declares it. Raise it when code cannot go on with journals of the
    version before. Default: 1.
    """

    drain: Drain = Drain()
    """How an old version goes away. It always waits for its open runs."""

    approvals: Approvals = Approvals()
    """What the fleet's approvals need."""

    delete_policy: DeletePolicy = "Drain"
    """What happens to open runs when this object is deleted. Drain waits for them and keeps their pods until they end;
    Cancel ends them as Cancelled. Default: Drain. A namespace that is being deleted always means Cancel.
    """

    run_ttl_seconds: Annotated[Seconds, Field(alias="runTTLSeconds")] = 86_400
    """Seconds after its end at which a run's object is deleted; its journal stays. Runs tracked by a GitOps tool are
    never deleted. Default: one day.
    """

    journal_retention_seconds: Retention | None = None
    """Seconds after its end at which what a run did is deleted from the journal, by the pods, a few runs at a time; how
    it ended is kept a month longer. It reaches pods with the next version. Without it journals keep everything, and
    `pinfleet-agent db prune` deletes by hand.
    """

    ended_runs_limit: Annotated[int, Field(ge=0, le=100_000)] = 1_000
    """Most ended runs of the fleet that are kept; the oldest are deleted first, even before their time.
    Default: 1000.
    """

    version_history_limit: Annotated[int, Field(ge=0, le=100)] = 10
    """Most retired, failed or superseded versions whose record is kept to go back to. Default: 10."""

    paused: bool = False
    """Holds back new runs: they stay Pending with reason FleetPaused. Runs that have begun go on. Default: false."""


class FleetVersionStatus(Model):
    """One version of the fleet, as counted last."""

    name: DnsLabel
    """The version's id, such as v2; its object is named <fleet>.<id>."""

    revision: Annotated[int, Field(ge=1, le=2**31 - 1)]
    """Number of the version in the fleet's history, from 1; a version that is used again gets a new one."""

    phase: VersionPhase
    """Preparing: its pods are not all ready. Candidate: ready to become active. Active: new runs go to it. Draining:
    no new runs, waits for its open ones. Dormant: the same, and all of those wait for a time, a person or a message: it
    has no pods until one is to be woken. Retired: no pods, kept as history. Failed: its pods cannot be made or do not
    get ready. Superseded: another spec came before it was active.
    """

    pods: Count
    """Pods that exist, without those that have ended."""

    ready: Count
    """Pods that take runs."""

    open: Count
    """Runs of this version that have not ended: running, parked, pending and held together."""

    running: Count
    """Runs that a pod holds."""

    parked: Count
    """Runs that wait for a time, a person or a message, and use no pod."""

    pending: Count
    """Runs that are pinned to this version and wait for a pod."""

    held: Count
    """Runs that were stopped because they cannot be resumed safely."""

    spec_hash: Annotated[str, Field(max_length=128)] | None = None
    """Its object's specHash: should the object be deleted while runs are pinned to it, only the very same spec may take
    its name again.
    """

    draining_since: AwareDatetime | None = None
    """When it stopped being active; absent while it is not draining or retired."""

    retired_at: AwareDatetime | None = None
    """When its last pod was gone."""

    oldest_open_run: ObjectName | None = None
    """Name of the open run that was created first: the one to look at when a version does not drain."""

    blocked_by: Text | None = None
    """What keeps the version from the next phase, in a sentence; absent when nothing does."""


class AgentDeploymentStatus(Model):
    """What the fleet is. Written by the operator only; this status decides, other objects mirror it."""

    observed_generation: Generation | None = None
    """The metadata.generation that this status answers to."""

    active_version: DnsLabel | None = None
    """Id of the version that new runs get. It changes in one write."""

    candidate_version: DnsLabel | None = None
    """Id of the version that is being brought up to become active."""

    versions: Annotated[
        tuple[FleetVersionStatus, ...], Field(max_length=VERSIONS_LISTED, json_schema_extra=list_map("name"))
    ] = ()
    """Every version that has pods, open runs or a record, newest first. At most 64 have pods or open runs: a spec that
    asks for one more is refused until one has drained (Accepted=False, TooManyVersions).
    """

    pending_runs: Count | None = None
    """Open runs that have no version yet."""

    counted_at_resource_version: Annotated[str, Field(max_length=32)] | None = None
    """Resource version of the runs at which they were counted: the counts equal a list at that version."""

    conditions: Annotated[tuple[Condition, ...], Field(max_length=32, json_schema_extra=list_map("type"))] = ()
    """Ready: an active version serves. Accepted: the spec can be used. Drained: no old version has runs left. Only
    while true: Reconciling, Stalled (needs a person), Paused.
    """


class AgentDeployment(Resource):
    """A fleet of AI agents. Its runs stay on the version that they started on; a new version takes new runs only."""

    crd: ClassVar[Crd] = Crd(
        plural="agentdeployments",
        short_name="adep",
        columns=(
            Column("Active", ".status.activeVersion", description="Version that new runs get."),
            Column("Candidate", ".status.candidateVersion", description="Version that is being brought up."),
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status', description="Whether the fleet serves."),
            Column(
                "Drained", '.status.conditions[?(@.type=="Drained")].status', description="No old version has runs."
            ),
            Column("Pending", ".status.pendingRuns", type="integer", description="Open runs without a version."),
            Column("Age", ".metadata.creationTimestamp", type="date"),
            Column(
                "Message", '.status.conditions[?(@.type=="Ready")].message', priority=1, description="How it stands."
            ),
        ),
    )
    model_config = ConfigDict(json_schema_extra=cel(NAME_RULE))

    spec: AgentDeploymentSpec
    """What the fleet should be."""

    status: AgentDeploymentStatus | None = None
    """What the fleet is."""
