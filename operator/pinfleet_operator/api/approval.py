"""AgentApproval as the run loop sees it: one flat record, and the decision that a run's offer carries.

Callers: the store keeps them by the run that they name, ``runs.judge`` judges them.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal

import msgspec

from pinfleet.wire import Decision, Wait
from pinfleet_operator.api.nesting import decode

ApprovalPhase = Literal["Accepted", "Refused"]


class ApprovalRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One AgentApproval, flat."""

    uid: str
    namespace: str
    name: str
    resource_version: int
    generation: int
    created_at: datetime
    run: str  # name; in the approval's own namespace
    run_uid: str
    hash: str
    decision: Literal["approved", "denied"]
    approver: str
    via: str
    comment: str
    phase: ApprovalPhase | None  # None: not judged yet
    reason: str

    @property
    def as_decision(self) -> Decision:
        """What the run gets."""
        return Decision(
            hash=self.hash,
            decision=self.decision,
            by=self.approver,
            via=self.via,
            comment=self.comment,
            at=self.created_at,
        )


class _Meta(msgspec.Struct, rename="camel"):
    uid: str
    namespace: str
    name: str
    resource_version: str
    creation_timestamp: datetime
    generation: int = 1


class _Run(msgspec.Struct):
    name: str
    uid: str


class _Spec(msgspec.Struct, rename="camel"):
    run: _Run
    request_hash: str
    decision: Literal["approved", "denied"]
    approver: str
    via: str = ""
    comment: str = ""


class _Status(msgspec.Struct):
    phase: ApprovalPhase | None = None
    reason: str = ""


class _Object(msgspec.Struct):
    metadata: _Meta
    spec: _Spec
    status: _Status = msgspec.field(default_factory=_Status)


_DECODER: Final = msgspec.json.Decoder(_Object)


def decode_approval(raw: bytes | msgspec.Raw) -> ApprovalRecord:
    """Read an AgentApproval's JSON; raises ``msgspec.MsgspecError`` if it does not fit the schema."""
    found = decode(_DECODER, raw)
    meta, spec = found.metadata, found.spec
    return ApprovalRecord(
        uid=meta.uid,
        namespace=meta.namespace,
        name=meta.name,
        resource_version=int(meta.resource_version),
        generation=meta.generation,
        created_at=meta.creation_timestamp,
        run=spec.run.name,
        run_uid=spec.run.uid,
        hash=spec.request_hash,
        decision=spec.decision,
        approver=spec.approver,
        via=spec.via,
        comment=spec.comment,
        phase=found.status.phase,
        reason=found.status.reason,
    )


def answers(waits: Iterable[Wait], seen: Iterable[str], decisions: Iterable[Decision]) -> bool:
    """Whether one of the decisions is on something that is waited for and has not been seen."""
    asked = {wait.hash for wait in waits if wait.kind == "Approval" and wait.hash}.difference(seen)
    return any(each.hash in asked for each in decisions)
