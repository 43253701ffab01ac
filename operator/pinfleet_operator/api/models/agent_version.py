"""AgentVersion: an immutable snapshot of a fleet's template and run contract, made by the operator only.

Source of ``crds/agentversions.yaml``. Its status mirrors the fleet's for people; nothing reads it back.
"""

from typing import Annotated, ClassVar, Final

from pydantic import AwareDatetime, ConfigDict, Field

from pinfleet_operator.api.models.base import AnyObject, Column, Crd, Model, Resource, Rule, cel, list_map
from pinfleet_operator.api.models.values import (
    Condition,
    DnsLabel,
    Generation,
    Port,
    RunsPerPod,
    SchemaVersion,
    State,
    Uid,
    VersionPhase,
)

IMMUTABLE_RULE: Final = Rule(
    rule="self.spec == oldSelf.spec",
    message="a version never changes: change the AgentDeployment, and a new version is made from it",
    field_path=".spec",
)
NAME_RULE: Final = Rule(
    rule="self.metadata.name == self.spec.fleet + '.' + self.spec.id",
    message="a version's object is named <fleet>.<id>",
)


class AgentVersionSpec(Model):
    """The snapshot. Immutable."""

    fleet: DnsLabel
    """Name of the AgentDeployment that it was made from, in the same namespace."""

    fleet_uid: Uid
    """Uid of that AgentDeployment: a fleet that is made anew under the same name does not inherit its versions."""

    id: DnsLabel
    """The version's id within its fleet, such as v2."""

    revision: Annotated[int, Field(ge=1, le=2**31 - 1)]
    """Number of the version in the fleet's history, from 1."""

    template: AnyObject
    """Pod template as rendered when the version was made. It is never rendered again, so that an upgrade of the
    operator changes no pod.
    """

    port: Port
    """Port on which the agent's container serves the run protocol."""

    runs_per_pod: RunsPerPod
    """Most runs that one pod executes at the same time."""

    state: State | None = None
    """Where the agents keep their journals; absent if each pod keeps its own, which goes with it."""

    schema_version: SchemaVersion = 1
    """Version of the agents' own state."""

    spec_hash: Annotated[str, Field(max_length=128, pattern="^[a-z0-9]+-[0-9]+:[0-9a-f]{16,96}$")]
    """Hash of the fields of the fleet's spec that make a version: algorithm, edition, then hexadecimal digits, as in
    sha256-1:9f86d081884c7d65.
    """


class AgentVersionStatus(Model):
    """A mirror of the fleet's status, for people. The fleet's status decides, and it alone has the counts of runs."""

    observed_generation: Generation | None = None
    """The metadata.generation that this status answers to."""

    phase: VersionPhase | None = None
    """Preparing, Candidate, Active, Draining, Dormant, Retired, Failed or Superseded; see AgentDeployment
    status.versions.
    """

    active_since: AwareDatetime | None = None
    """When it last became active; absent if it never was."""

    draining_since: AwareDatetime | None = None
    """When it last stopped being active."""

    retired_at: AwareDatetime | None = None
    """When its last pod was gone."""

    conditions: Annotated[tuple[Condition, ...], Field(max_length=32, json_schema_extra=list_map("type"))] = ()
    """Ready: its pods take runs. Stalled, only while true: its pods need a person."""


class AgentVersion(Resource):
    """One version of a fleet: an immutable snapshot with pods of its own. Made by the operator, never by hand."""

    crd: ClassVar[Crd] = Crd(
        plural="agentversions",
        short_name="aver",
        columns=(
            Column("Fleet", ".spec.fleet", description="AgentDeployment that it belongs to."),
            Column("Phase", ".status.phase", description="Where it is in its life."),
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status', description="Whether its pods take runs."),
            Column("Age", ".metadata.creationTimestamp", type="date"),
        ),
    )
    model_config = ConfigDict(json_schema_extra=cel(IMMUTABLE_RULE, NAME_RULE))

    spec: AgentVersionSpec
    """The snapshot. Immutable."""

    status: AgentVersionStatus | None = None
    """How the version stands."""
