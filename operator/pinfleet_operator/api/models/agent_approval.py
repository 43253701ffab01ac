"""AgentApproval: a person's decision on what a run asks for. Made by people and bridges, judged by the operator.

Source of ``crds/agentapprovals.yaml``. Who may make one is held by the chart's ValidatingAdmissionPolicy; here stands
that it never changes.
"""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import ConfigDict, Field

from pinfleet_operator.api.models.base import Column, Crd, Model, Resource, Rule, cel, list_map
from pinfleet_operator.api.models.values import Condition, Generation, ObjectName, Reason, Uid

UserName = Annotated[str, Field(min_length=1, max_length=256)]

IMMUTABLE_RULE: Final = Rule(
    rule="self.spec == oldSelf.spec",
    message="a decision never changes: the run may have acted on it",
    field_path=".spec",
)
_WAS_JUDGED: Final = "has(oldSelf.status) && has(oldSelf.status.phase)"
JUDGED_ONCE_RULE: Final = Rule(
    rule=(
        f"!({_WAS_JUDGED}) || (has(self.status) && has(self.status.phase) && self.status.phase == oldSelf.status.phase)"
    ),
    message="a decision is accepted or refused once",
    field_path=".status.phase",
)


class ApprovedRun(Model):
    """The run that the decision is for, in the same namespace."""

    name: ObjectName
    """Name of the AgentRun."""

    uid: Uid
    """Its metadata.uid: a later run of the same name is another run."""


class AgentApprovalSpec(Model):
    """What was decided, for whom, by whom. Immutable."""

    run: ApprovedRun
    """The run that asks."""

    request_hash: Annotated[str, Field(max_length=64, pattern="^[0-9a-f]{64}$")]
    """The request's hash, from the run's status.waitingFor. It covers what is to be done, its arguments and its expiry.
    """

    decision: Literal["approved", "denied"]
    """What the run may do."""

    approver: UserName
    """Who decided: must be the user name of whoever creates this; or, with via, the person that a bridge speaks for."""

    via: UserName | None = None
    """The bridge that creates this for the approver, such as a chat bot: must be its own user name, and needs the verb
    approve-on-behalf. Absent where the approver creates it.
    """

    comment: Annotated[str, Field(max_length=1024)] = ""
    """Why, in words; the run gets them."""


class AgentApprovalStatus(Model):
    """What became of the decision. Written by the operator only; empty until the run asks for what was decided on."""

    observed_generation: Generation | None = None
    """The metadata.generation that this status answers to."""

    phase: Literal["Accepted", "Refused"] | None = None
    """Accepted: the run gets it. Refused: it never does, for the reason. Written once."""

    reason: Reason | None = None
    """Why, in one word for programs."""

    message: Annotated[str, Field(max_length=1024)] | None = None
    """Why, in a sentence for people."""

    conditions: Annotated[tuple[Condition, ...], Field(max_length=32, json_schema_extra=list_map("type"))] = ()
    """Accepted: True or False, once it was judged."""


class AgentApproval(Resource):
    """A person's decision on what one run asks for. It is made once and never changes; it goes with its run."""

    crd: ClassVar[Crd] = Crd(
        plural="agentapprovals",
        short_name="aappr",
        columns=(
            Column("Run", ".spec.run.name", description="Run that the decision is for."),
            Column("Decision", ".spec.decision", description="What was decided."),
            Column("Approver", ".spec.approver", description="Who decided."),
            Column("Status", ".status.phase", description="Whether the run gets it."),
            Column("Reason", ".status.reason", description="Why it was refused."),
            Column("Age", ".metadata.creationTimestamp", type="date"),
        ),
    )
    model_config = ConfigDict(json_schema_extra=cel(IMMUTABLE_RULE, JUDGED_ONCE_RULE))

    spec: AgentApprovalSpec
    """What was decided. Immutable."""

    status: AgentApprovalStatus | None = None
    """What became of it."""
