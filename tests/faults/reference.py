"""What the undisturbed scenario does and how it ends, as recorded: plans are generated from it, ends held against it.

`UPDATE_GOLDEN=1 make faults SAMPLE=1` records it anew.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from tests.faults.calls import Call
from tests.faults.plans import Plan
from tests.faults.scenario import EndState

FILE: Final = Path(__file__).parent / "reference.json"


@dataclass(frozen=True)
class Reference:
    """One undisturbed run."""

    calls: tuple[Call, ...]  # writes, and calls to pods that change something, in order; Leases: the first four
    alive: EndState  # before the fleet is deleted
    dead: EndState  # after it

    @classmethod
    def of(cls, calls: list[Call], alive: EndState, dead: EndState) -> Self:
        """What matters of a run."""
        leases = [call for call in calls if call.resource == "leases" and call.is_write][:4]
        changes = [call for call in calls if (call.is_write and call.resource != "leases") or call.is_pod_write]
        return cls((*leases, *changes), alive, dead)

    @classmethod
    def read(cls) -> Self:
        """The recorded one."""
        found = json.loads(FILE.read_text())
        calls = tuple(Call(*each.split("|")) for each in found["calls"])
        return cls(calls, EndState.of(found["alive"]), EndState.of(found["dead"]))

    def write(self) -> None:
        """Record it."""
        calls = [f"{call.verb}|{call.resource}|{call.name}|{call.what}" for call in self.calls]
        whole = {"calls": calls, "alive": asdict(self.alive), "dead": asdict(self.dead)}
        FILE.write_text(json.dumps(whole, indent=1) + "\n")

    def under(self, plan: Plan | None) -> Self:
        """How it ends under a plan: as undisturbed, but for what the run protocol says itself.

        Rule 2: an end that the API server refuses (422) is Failed without its result.
        """
        if plan is None or (plan.fault, plan.call.shape) != ("invalid", ("patch", "agentruns/status", "Succeeded")):
            return self
        refused = ("Failed", "ResultRefused")
        return type(self)(
            self.calls, self.alive.with_end(plan.call.name, refused), self.dead.with_end(plan.call.name, refused)
        )
