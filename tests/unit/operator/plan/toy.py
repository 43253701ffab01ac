"""The toy cluster under a planner, watched: every checker names its invariant and looks at every action.

``test_checkers`` shows that each of them flags a planner that is broken on purpose.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from pinfleet_operator.plan import actions as do
from pinfleet_operator.plan import naming
from pinfleet_operator.plan.decide import plan
from pinfleet_operator.plan.world import World
from tests.unit.operator.plan.cluster import Cluster, InvariantBrokenError

Planner = Callable[[World], do.Plan]
SETTLED_AFTER_PASSES = 60


@dataclass
class Toy(Cluster):
    """The cluster, and the pass over its fleet."""

    planner: Planner = plan

    def once(self) -> do.Plan:
        """One pass; every checker looks at each of its actions."""
        made = self.planner(self.world())
        for action in made.actions:
            self._check_before(action)
            self.carry_out(action)
        self._check_after(made)
        return made

    def settle(self) -> None:
        """Passes until nothing is due within two seconds; then one more must do nothing (INV-8)."""
        for _ in range(SETTLED_AFTER_PASSES):
            made = self.once()
            self.kubelet()
            self.place()
            if made.requeue_after is not None and made.requeue_after <= 2:
                self.now += timedelta(seconds=made.requeue_after)
            elif not self._writes_of(made):
                return
        raise InvariantBrokenError(f"INV-8: not stable after {SETTLED_AFTER_PASSES} passes: {made.actions}")

    @staticmethod
    def _writes_of(made: do.Plan) -> list[do.Action]:
        return [each for each in made.actions if not isinstance(each, do.SetFleet | do.DropFleet)]

    # Checkers

    def _check_before(self, action: do.Action) -> None:
        match action:
            case do.DeletePod(name, uid) | do.CordonPod(name, uid):
                if any(run.pod == uid and run.is_open for run in self.runs):
                    raise InvariantBrokenError(f"INV-6: {name} holds runs and is removed")
                self._check_awake(uid)
            case do.DeleteVersion(name, uid):
                if self.counts(self.records[uid].id).open or uid not in self.confirmed:
                    raise InvariantBrokenError(f"INV-6: {name} is deleted with open runs, or unconfirmed")
            case do.CreatePod(_, _, name):
                if len(name) > naming.MOST_CHARACTERS:
                    raise InvariantBrokenError(f"{name} is too long")

    def _check_awake(self, uid: str) -> None:
        """The last pod of a version may go only when every open run of it sleeps, and that is certain (INV-6)."""
        pod = self.pods[uid]
        counts = self.counts(pod.record.version)
        others = [one for one in self.pods.values() if one.record.version_uid == pod.record.version_uid and one.is_live]
        is_last = not pod.record.is_terminal and all(one.record.uid == uid for one in others)
        if is_last and counts.open and (counts.running + counts.pending or pod.record.version_uid not in self.asleep):
            raise InvariantBrokenError(f"INV-6: {pod.record.name} is the last pod, and {counts.open} runs are open")

    def _check_after(self, made: do.Plan) -> None:
        if sum(isinstance(each, do.Promote | do.WriteStatus) for each in made.actions) > 1:
            raise InvariantBrokenError("INV-15: more than one status write in a pass")
        actives = [each.name for each in self.status.versions if each.phase == "Active"]
        if len(actives) > 1 or (actives and actives != [self.status.active_version]):
            raise InvariantBrokenError(f"INV-10: {actives} are active")
        if self.view is not None and not self.is_gone and self.view.active_version != self.status.active_version:
            raise InvariantBrokenError("INV-5: the run loop pins to another version than the status says")
        for each in self.status.versions:
            if (
                each.phase == "Retired"
                and each.open == 0
                and self.counts(each.name).open
                and made.requeue_after is None
            ):
                raise InvariantBrokenError(f"INV-6: {each.name} is retired with open runs")
        for record in self.records.values():
            live = [pod for pod in self.pods.values() if pod.record.version_uid == record.uid and pod.is_live]
            waits = self.counts(record.id)
            if not live and waits.running + waits.pending > 0 and made.requeue_after is None:
                raise InvariantBrokenError(f"INV-6: {record.name} has runs and no pod is made for them")


__all__ = ["InvariantBrokenError", "Planner", "Toy"]
