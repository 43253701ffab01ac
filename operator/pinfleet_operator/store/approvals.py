"""AgentApprovals in the store, by the run that they name: what people decided, and for which runs."""

from pinfleet.wire import Decision
from pinfleet_operator.api.approval import ApprovalRecord, answers
from pinfleet_operator.api.run import RunRecord
from pinfleet_operator.store.objects import Objects


class Approvals(Objects[ApprovalRecord]):
    """A reflector's sink for AgentApprovals, and the answers of our own writes."""

    def __init__(self) -> None:
        super().__init__(lambda approval: approval.run_uid)
        self._decided: set[str] = set()  # uids of runs that have an accepted decision
        self.on_change.append(self._note)

    @property
    def decided(self) -> frozenset[str]:
        """Uids of the runs that have an accepted decision."""
        return frozenset(self._decided)

    def decisions(self, run: RunRecord) -> tuple[Decision, ...]:
        """The accepted decisions on what the run asked for that it has not seen, by hash."""
        accepted = (each for each in self.of(run.uid) if each.phase == "Accepted")
        mine = {each.hash: each for each in accepted if (each.namespace, each.run) == (run.namespace, run.name)}
        return tuple(mine[key].as_decision for key in sorted(mine.keys() - set(run.decisions_seen)))

    def wake(self, run: RunRecord) -> bool:
        """Whether a decision is there that the run waits for and has not seen."""
        return run.uid in self._decided and answers(run.waiting_for, run.decisions_seen, self.decisions(run))

    def _note(self, old: ApprovalRecord | None, new: ApprovalRecord | None) -> None:
        approval = new or old
        if approval is None:
            return
        if any(each.phase == "Accepted" for each in self.of(approval.run_uid)):
            self._decided.add(approval.run_uid)
        else:
            self._decided.discard(approval.run_uid)
