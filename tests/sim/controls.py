"""Each rule's negative control: without the rule, random schedules find its race.

``python -m tests.sim.controls [--within N] [--record] [RULE...]`` tries seed after seed for each and prints the first
that breaks something; ``--record`` writes them into found.py. ``--replay FIRST COUNT`` lives through recorded seeds
again, with the rule taken out and with it. Where one rule covers another's race, both are taken out.
"""

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pinfleet.rules import without
from tests.sim.chaos import live_through
from tests.sim.found import FOUND
from tests.sim.loop import DeadlockError, LivelockError, run_virtual

WITHIN: Final = 1_000
NEXT: Final = 60
"""Seeds that a replay tries after the recorded one: a change of the code moves schedules a little."""


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
    lived = live_through(
        seed,
        *control.operator_off,
        pod_rules=without(*control.pod_off),
        has_preconditions=control.has_preconditions,
    )
    try:
        return run_virtual(lived)[0]
    except (DeadlockError, LivelockError) as err:
        return [f"{type(err).__name__}: "]


def find(control: Control, *, first: int = 0, within: int = WITHIN) -> tuple[int, str] | None:
    """The first seed that finds the race, and the invariant that it breaks; None: none does."""
    for seed in range(first, first + within):
        found = broken_by(control, seed)
        if found:
            return seed, found[0].partition(":")[0]
    return None


def search(within: int, rules: list[str], *, records: bool) -> int:
    """Print, and perhaps record, the first seed of each control; returns how many were not found."""
    missed, rows = 0, {(rule, what): (seed, broken) for rule, what, seed, broken in FOUND}
    for control in CONTROLS:
        if rules and control.rule not in rules:
            continue
        began = time.process_time()
        found = find(control, within=within)
        missed += found is None
        rows[control.rule, control.name] = found or (None, f"none of {within}")
        seconds = time.process_time() - began
        _say(f"{control.rule:>3}  {control.name:<60} {found}  {seconds:.0f} s")
    if records:
        kept = [(each.rule, each.name) for each in CONTROLS]
        _record([(*key, *rows[key]) for key in kept if key in rows])
    return missed


def replay(first: int, count: int) -> int:
    """Live through recorded seeds without their rules, and with them; returns how many do not show their race."""
    missed = 0
    for control in CONTROLS[first : first + count]:
        recorded = next(seed for rule, what, seed, _ in FOUND if (rule, what) == (control.rule, control.name))
        if recorded is None:
            continue
        found = find(control, first=recorded, within=NEXT)
        clean = found is not None and run_virtual(live_through(found[0]))[0] == []
        missed += not clean
        _say(f"{control.rule:>3}  {control.name:<60} recorded {recorded}, found {found}, clean with the rule: {clean}")
    return missed


def _record(rows: list[tuple[str, str, int | None, str]]) -> None:
    path = Path(__file__).with_name("found.py")
    head = path.read_text(encoding="utf-8").partition("    # rule, what")[0]
    title = "    # rule, what is out, first seed (None: none of those tried), the invariant that it breaks\n"
    lines = [f"    ({', '.join('None' if each is None else json.dumps(each) for each in row)}),\n" for row in rows]
    path.write_text(head + title + "".join(lines) + ")\n", encoding="utf-8")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(*arguments: str) -> int:
    """Return how many controls were missed."""
    if arguments[:1] == ("--replay",):
        return replay(int(arguments[1]), int(arguments[2]))
    within, rules = WITHIN, [each for each in arguments if each != "--record"]
    if "--within" in rules:
        at = rules.index("--within")
        within = int(rules[at + 1])
        del rules[at : at + 2]
    return search(within, rules, records="--record" in arguments)


def _begin() -> int:
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is part of a schedule
        again = [sys.executable, "-m", "tests.sim.controls", *sys.argv[1:]]
        os.execve(sys.executable, again, os.environ | {"PYTHONHASHSEED": "0"})  # noqa: S606 - this very program
    return main(*sys.argv[1:])


if __name__ == "__main__":
    sys.exit(1 if _begin() else 0)
