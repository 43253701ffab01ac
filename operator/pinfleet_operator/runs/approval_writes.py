"""Writes on AgentApprovals that ``judge`` decided: their status, once, and their deletion with their run."""

import msgspec
import structlog

from pinfleet_operator.api import keys
from pinfleet_operator.api.approval import ApprovalRecord, decode_approval
from pinfleet_operator.api.run import decode_run
from pinfleet_operator.errors import Conflict, NotFound
from pinfleet_operator.kube.api import Kube
from pinfleet_operator.kube.resources import AGENT_APPROVALS, AGENT_RUNS
from pinfleet_operator.runs.judge.situation import DropApproval, JudgeApproval
from pinfleet_operator.store import Store

log = structlog.get_logger()


class ApprovalWrites:
    """Executes the actions on approvals."""

    def __init__(self, *, store: Store, kube: Kube) -> None:
        self._store, self._kube = store, kube

    async def judge(self, action: JudgeApproval) -> None:
        """Write what was decided about a decision; that there is no such run, only after a consistent look."""
        approval = action.approval
        if action.reason == keys.RUN_NOT_FOUND:
            await self._require_absent(approval)
        condition = {
            "type": keys.ACCEPTED,
            "status": "True" if action.phase == "Accepted" else "False",
            "reason": action.reason,
            "message": action.message,
            "observedGeneration": approval.generation,
            "lastTransitionTime": self._kube.server_now().replace(microsecond=0),
        }
        status = {
            "phase": action.phase,
            "reason": action.reason,
            "message": action.message,
            "observedGeneration": approval.generation,
            "conditions": [condition],
        }
        body = {"metadata": {"resourceVersion": str(approval.resource_version)}, "status": status}
        answer = await self._kube.merge_patch(
            AGENT_APPROVALS, approval.namespace, approval.name, msgspec.json.encode(body), subresource="status"
        )
        self._store.approvals.put(decode_approval(answer))
        log.info(
            "approval_judged",
            approval=approval.name,
            namespace=approval.namespace,
            run=approval.run,
            approver=approval.approver,
            via=approval.via,
            phase=action.phase,
            reason=action.reason,
        )

    async def drop(self, action: DropApproval) -> None:
        """Delete a decision whose run is gone, for certain."""
        approval = action.approval
        await self._require_absent(approval)
        try:
            await self._kube.delete(AGENT_APPROVALS, approval.namespace, approval.name, uid=approval.uid)
        except NotFound:
            return

    async def _require_absent(self, approval: ApprovalRecord) -> None:
        try:
            found = decode_run(await self._kube.get(AGENT_RUNS, approval.namespace, approval.run))
        except NotFound:
            return
        if found.uid == approval.run_uid:
            where = f"{approval.namespace}/{approval.name}"
            raise Conflict(f"cannot judge AgentApproval {where}: the watch has not shown its run yet")
