"""Each rule's negative control: without the rule, random schedules find its race.

``python -m tests.sim.controls [--within N] [RULE...]`` tries seed after seed for each and prints the first that breaks
something. Where one rule covers another's race, both are taken out.

"""

import sys
import time
from dataclasses import dataclass
from typing import Final

from pinfleet.rules import without
from tests.sim.chaos import live_through
from tests.sim.loop import run_virtual

WITHIN: Final = 1_000


@dataclass(frozen=True)
class Control:
    """What is taken out of a schedule."""

    rule: str  # its number in docs/reference/run-contract.md
    operator_off: tuple[str, ...] = ()  # numbers of rules, see api.settings
    pod_off: tuple[str, ...] = ()  # names of rules, see pinfleet.rules
    has_preconditions: bool = True  # of the API server, on a run's status

    @property
    def name(self) -> str:
        """What is out, in words."""
        pods = [f"pods without {name}" for name in self.pod_off]
        server = [] if self.has_preconditions else ["the API server's preconditions"]
        return ", ".join([*(f"rule {number}" for number in self.operator_off), *pods, *server])


CONTROLS: Final = (
    Control("1", ("1",)),
    Control("2", ("2",), ("terminal-answer",)),
    Control("2", (), ("commit-before-report",)),
    Control("3", ("3",)),
    Control("4", ("4",)),
    Control("5", ("5",), ("boot",)),
    Control("6", ("6",)),
    Control("7", ("7",)),
    Control("8", ("8",), ("leader",)),
    Control("9", ("9",)),
    Control("10", ("10",)),
    Control("10", (), ("cancel-grace",)),
    Control("11", ("11",)),
    Control("12", ("12",), ("pod-uid",)),
    Control("13", ("13",), ("journal-epoch",)),
    Control("14", ("14",)),
    Control("15", ("15",), ("timers-fired",)),
    Control("16", ("16",), has_preconditions=False),
    Control("17", ("17",)),
)


def broken_by(control: Control, seed: int) -> list[str]:
    """What is broken at the end of a seed's schedule without the rule."""
    return run_virtual(
        live_through(
            seed,
            *control.operator_off,
            pod_rules=without(*control.pod_off),
            has_preconditions=control.has_preconditions,
        )
    )[0]


def find(control: Control, *, first: int = 0, within: int = WITHIN) -> tuple[int, str] | None:
    """The first seed that finds the race, and the invariant that it breaks; None: none does."""
    for seed in range(first, first + within):
        found = broken_by(control, seed)
        if found:
            return seed, found[0].partition(":")[0]
    return None


def main(*arguments: str) -> int:
    """Return how many controls were not found."""
    within, rules = WITHIN, list(arguments)
    if "--within" in rules:
        at = rules.index("--within")
        within = int(rules[at + 1])
        del rules[at : at + 2]
    missed = 0
    for control in CONTROLS:
        if rules and control.rule not in rules:
            continue
        began = time.process_time()
        found = find(control, within=within)
        missed += found is None
        seconds = time.process_time() - began
        sys.stdout.write(f"{control.rule:>3}  {control.name:<60} {found}  {seconds:.0f} s\n")
        sys.stdout.flush()
    return missed


if __name__ == "__main__":
    sys.exit(1 if main(*sys.argv[1:]) else 0)
