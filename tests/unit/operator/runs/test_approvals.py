"""What becomes of a person's decision, case by case."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from pinfleet.wire import Wait
from pinfleet_operator.api import keys
from pinfleet_operator.api.approval import ApprovalRecord
from pinfleet_operator.runs.judge import judge
from pinfleet_operator.runs.judge.approvals import settle_approvals
from pinfleet_operator.runs.judge.situation import Assign, DropApproval, JudgeApproval, Situation, WriteEnd
from tests.unit.operator.runs.conftest import FLEET, PENDING, RUNNING, ago, hence

Make = Callable[..., Situation]
change = msgspec.structs.replace
HASH, OTHER = "a" * 64, "b" * 64
ASKS = Wait(id="w1", kind="Approval", name="refund", hash=HASH, until=hence(100))
ASKING = change(
    RUNNING, phase="Parked", pod=None, pod_uid=None, boot=None, waiting_for=(ASKS,), requester="rob", parked_at=ago(5)
)
ENDED = change(ASKING, phase="TimedOut", ended_at=ago(1))

APPROVAL = ApprovalRecord(
    uid="approval-uid",
    namespace="ns",
    name="yes",
    resource_version=20,
    generation=1,
    created_at=ago(1),
    run="run-1",
    run_uid="run-uid",
    hash=HASH,
    decision="approved",
    approver="ann",
    via="",
    comment="",
    phase=None,
    reason="",
)
ACCEPTED = change(APPROVAL, uid="first", name="first", phase="Accepted")


def judged(s: Situation) -> list[tuple[str, str, str]]:
    """Name, phase and reason of every decision that is judged now."""
    found = settle_approvals(s).actions
    return [(each.approval.name, each.phase, each.reason) for each in found if isinstance(each, JudgeApproval)]


CASES = {
    "what the run asks for, by somebody else, in time": (ASKING, {}, ("Accepted", keys.DECISION_ACCEPTED)),
    "a denial counts as well": (ASKING, {"decision": "denied"}, ("Accepted", keys.DECISION_ACCEPTED)),
    "in the last second": (ASKING, {"created_at": hence(99)}, ("Accepted", keys.DECISION_ACCEPTED)),
    "at the expiry, as the run takes it": (ASKING, {"created_at": hence(100)}, ("Refused", keys.EXPIRED)),
    "too early: the run does not ask yet": (change(ASKING, waiting_for=()), {}, None),
    "for another request": (ASKING, {"hash": OTHER}, None),
    "too late": (ASKING, {"created_at": hence(101)}, ("Refused", keys.EXPIRED)),
    "by the requester": (ASKING, {"approver": "rob"}, ("Refused", keys.APPROVER_IS_REQUESTER)),
    "by the requester, before the run asks": (
        change(ASKING, waiting_for=()),
        {"approver": "rob"},
        ("Refused", keys.APPROVER_IS_REQUESTER),
    ),
    "by the requester, through a bridge": (
        ASKING,
        {"approver": "rob", "via": "bot"},
        ("Refused", keys.APPROVER_IS_REQUESTER),
    ),
    "the run ended first": (ENDED, {}, ("Refused", keys.RUN_ENDED)),
    "the run's uid under another name": (ASKING, {"run": "run-2"}, ("Refused", keys.RUN_NOT_FOUND)),
    "from another namespace": (ASKING, {"namespace": "other"}, ("Refused", keys.RUN_NOT_FOUND)),
    "no such run": (None, {}, ("Refused", keys.RUN_NOT_FOUND)),
}


@pytest.mark.parametrize(("run", "changes", "expected"), CASES.values(), ids=CASES)
@pytest.mark.case("INV-14", "runs: an approval comes early, twice, for another request or too late")
def test_a_decision_is_judged(
    situation: Make, run: object, changes: dict[str, object], expected: tuple[str, str] | None
) -> None:
    """A decision is accepted if the run asks for it, in time, of somebody else; kept if it does not ask yet."""
    s = situation(run, approvals=(change(APPROVAL, **changes),))

    assert judged(s) == ([("yes", *expected)] if expected else [])


@pytest.mark.case("runs: an approval comes early, twice, for another request or too late")
def test_a_request_has_one_decision(situation: Make) -> None:
    """Of two decisions on one request the first that was made counts, whichever is seen first."""
    late = change(APPROVAL, uid="late", name="late", resource_version=30, decision="denied", created_at=ago(0))

    assert judged(situation(ASKING, approvals=(late, APPROVAL))) == [
        ("yes", "Accepted", keys.DECISION_ACCEPTED),
        ("late", "Refused", keys.ALREADY_DECIDED),
    ]
    assert judged(situation(ASKING, approvals=(ACCEPTED, APPROVAL))) == [("yes", "Refused", keys.ALREADY_DECIDED)]


def test_a_decision_is_judged_once(situation: Make) -> None:
    """What was accepted or refused is looked at no more, whatever the run does."""
    for run in (ASKING, ENDED):
        assert judged(situation(run, approvals=(ACCEPTED, change(ACCEPTED, phase="Refused")))) == []


def test_a_decision_goes_with_its_run(situation: Make) -> None:
    """Decisions on a run that is gone are deleted; one that named none is kept for a day, for its author to read."""
    unfound = change(APPROVAL, phase="Refused", reason=keys.RUN_NOT_FOUND)
    old = change(unfound, created_at=ago(86_401))

    assert settle_approvals(situation(None, approvals=(ACCEPTED,))).actions == (DropApproval(ACCEPTED),)
    assert settle_approvals(situation(None, approvals=(unfound,))).again_at == hence(86_399)
    assert settle_approvals(situation(None, approvals=(old,))).actions == (DropApproval(old),)


@pytest.mark.case("INV-14")
def test_four_eyes_need_a_requester(situation: Make) -> None:
    """A fleet with four eyes fails runs whose requester nobody knows, and serves the others."""
    strict = replace(FLEET, has_four_eyes=True)
    (end,) = judge(situation(PENDING, fleet=strict)).actions
    named = judge(situation(change(PENDING, requester="rob"), fleet=strict)).actions

    assert isinstance(end, WriteEnd)
    assert (end.phase, end.reason) == ("Failed", keys.REQUESTER_MISSING)
    assert named == (Assign("v1", attempts=1),)
