"""What becomes of the decisions that people made on a run: accepted, refused, or kept until the run asks. Pure.

``judge`` settles them beside whatever the run itself needs. The order of the questions is the policy: that nobody
approves what they asked for themselves comes before all that depends on the moment.
"""

from datetime import datetime, timedelta
from typing import Final

from pinfleet_operator.api import keys
from pinfleet_operator.api.approval import ApprovalRecord
from pinfleet_operator.api.run import RunRecord
from pinfleet_operator.runs.judge.situation import DropApproval, JudgeApproval, Situation, Verdict

UNFOUND_KEPT: Final = timedelta(days=1)  # a decision that names no run, so that its author can read why it is refused


def settle_approvals(s: Situation) -> Verdict:
    """Judge what is not judged yet; of two decisions on one request, the first that was made."""
    run = s.run
    if run is None:
        return _settle_without_run(s)
    made = [each for each in s.approvals if each.phase is None]
    decided = {each.hash for each in s.approvals if each.phase == "Accepted" and is_for(each, run)}
    actions = list[JudgeApproval]()
    for each in sorted(made, key=lambda one: (one.created_at, one.resource_version, one.uid)):
        found = _judge(run, each, decided)
        if found is None:
            continue
        actions.append(found)
        if found.phase == "Accepted":
            decided.add(each.hash)
    return Verdict(tuple(actions))


def is_for(approval: ApprovalRecord, run: RunRecord) -> bool:
    """Whether the decision names this very run, in its own namespace: that is where its author may approve."""
    return (approval.namespace, approval.run, approval.run_uid) == (run.namespace, run.name, run.uid)


def _judge(run: RunRecord, approval: ApprovalRecord, decided: set[str]) -> JudgeApproval | None:
    if not is_for(approval, run):
        return _refuse(approval, keys.RUN_NOT_FOUND, f"no AgentRun {approval.run} has the uid {approval.run_uid}")
    if run.requester == approval.approver:
        text = f"{approval.approver} asked for the run: somebody else must decide"
        return _refuse(approval, keys.APPROVER_IS_REQUESTER, text)
    if not run.is_open:
        return _refuse(approval, keys.RUN_ENDED, f"the run has ended as {run.phase}")
    wait = next((each for each in run.waiting_for if each.hash == approval.hash), None)
    if wait is None:
        return None
    if wait.until is not None and approval.created_at >= wait.until:
        return _refuse(approval, keys.EXPIRED, f"the request expired at {wait.until:%Y-%m-%dT%H:%M:%SZ}")
    if approval.hash in decided:
        return _refuse(approval, keys.ALREADY_DECIDED, "the request has a decision already")
    return JudgeApproval(approval, "Accepted", keys.DECISION_ACCEPTED, "the run gets the decision")


def _refuse(approval: ApprovalRecord, reason: str, message: str) -> JudgeApproval:
    return JudgeApproval(approval, "Refused", reason, message)


def _settle_without_run(s: Situation) -> Verdict:
    """A decision goes with its run; one that never named a run is kept for a day, with the reason."""
    actions, again_at = list[DropApproval | JudgeApproval](), list[datetime]()
    for each in s.approvals:
        keep_until = each.created_at + UNFOUND_KEPT
        if each.phase is None:
            text = f"no AgentRun {each.run} has the uid {each.run_uid}"
            actions.append(JudgeApproval(each, "Refused", keys.RUN_NOT_FOUND, text))
        elif each.reason == keys.RUN_NOT_FOUND and keep_until > s.now:
            again_at.append(keep_until)
        else:
            actions.append(DropApproval(each))
    return Verdict(tuple(actions), min(again_at, default=None))
