"""The invariants of a recording of a real cluster: `check` says what is broken.

What a simulation and a real cluster both show is asked by the simulator's own checkers (``tests.sim.invariants``);
this is their second adapter. What only a real API server shows is in ``checkers``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from tests.integration import checkers
from tests.integration.recording import Recording, RunRow
from tests.sim import invariants
from tests.sim.history import Change, History
from tests.sim.record import Begun, Claimed, Committed, Record

LABEL_FLEET: Final = "pinfleet.dev/fleet"
SHARED: Final = ("INV-1", "INV-3", "INV-4", "INV-5", "INV-6", "INV-7", "INV-13", "INV-15", "INV-16", "once")
OPEN_STATES: Final = {"running", "parked"}


@dataclass
class FleetHistory(History):
    """Of one fleet of a recording, as the simulator's checkers read it."""

    steps: dict[tuple[str, str], int] = field(default_factory=dict)  # (run, step) -> epoch that committed it

    def actives(self) -> list[tuple[int, str]]:
        """(resourceVersion, active version) at each switch."""
        found: list[tuple[int, str]] = []
        for change in self.changes["agentdeployments"]:
            active = change.status.get("activeVersion")
            if active and (not found or found[-1][1] != active):
                found.append((change.rv, active))
        return found


def check(recording: Recording) -> list[str]:
    """Every violation, each with the invariant's name."""
    found = [f"history: {gap}" for gap in recording.gaps]
    for fleet in sorted({change.name for change in recording.of("agentdeployments")}):
        history = history_of(recording, fleet)
        found += [f"{fleet}: {what}" for what in invariants.broken(history, *SHARED)]
    for name, checker in CHECKERS:
        found += [f"{name}: {what}" for what in checker(recording)]
    return found


def history_of(recording: Recording, fleet: str) -> FleetHistory:
    """One fleet's part of a recording."""
    made = FleetHistory(fleet=fleet, has_faults=checkers.is_disturbed(recording), ended_at=recording.ended_at)
    made.changes["agentdeployments"] = [c for c in recording.of("agentdeployments") if c.name == fleet]
    made.changes["agentruns"] = [c for c in recording.of("agentruns") if fleet_of_run(c) == fleet]
    for plural in ("agentversions", "pods"):
        made.changes[plural] = [c for c in recording.of(plural) if _labels(c).get(LABEL_FLEET) == fleet]
    mine = {change.item["metadata"]["uid"]: change.name for change in made.changes["agentruns"]}
    made.record = record_of(recording, mine)
    for row in _latest(recording, mine).values():
        if row.state not in OPEN_STATES:
            versions = {step.version for step in recording.steps if step.run == row.run}
            made.journal[row.run] = {"state": row.state, "version": row.version, "row_versions": versions}
    return made


def record_of(recording: Recording, runs: dict[str, str]) -> Record:
    """What the journals and the trace say of some runs, in the order of its times."""
    made = Record()
    for claim in (each for each in recording.claims if each.run in runs):
        made.claims.append(Claimed(claim.at, claim.run, claim.epoch, claim.boot, claim.pod, claim.version, "claimed"))
        if claim.ended_at is not None:
            end = Committed(claim.ended_at, claim.run, claim.epoch, (), claim.state, False, "committed")
            made.commits.append(end)
    for row in (each for each in recording.steps if each.run in runs):
        steps = ((row.key, row.digest, row.attempt),)
        made.commits.append(Committed(row.at, row.run, row.epoch, steps, None, False, "committed"))
    made.events = sorted([*made.claims, *made.commits], key=lambda each: each.at)
    uids = {name: uid for uid, name in runs.items()}
    for n, line in enumerate(recording.trace):
        if line.run in uids:
            step = int(line.step) if line.step.isdecimal() else n  # those that are named are never counted as one
            uid = uids[line.run]
            made.begun.append(Begun(line.at, uid, line.run, step, line.epoch, line.pod, line.version))
    return made


def fleet_of_run(change: Change) -> str:
    """The fleet that a run names."""
    return str(change.item["spec"]["task"]["agentDeployment"])


def _labels(change: Change) -> dict[str, str]:
    found: dict[str, str] = change.item["metadata"].get("labels", {})
    return found


def _latest(recording: Recording, runs: dict[str, str]) -> dict[str, RunRow]:
    return {row.run: row for row in recording.claims if row.run in runs}


CHECKERS: Final[tuple[tuple[str, Callable[[Recording], Iterator[str]]], ...]] = (
    ("INV-4", checkers.recorded_steps_never_run_again),
    ("INV-6", checkers.deleted_versions_are_empty),
    ("INV-8", checkers.nothing_is_written_in_vain),
    ("INV-9", checkers.no_orphan_is_left),
    ("INV-10", checkers.one_version_is_active),
    ("INV-13", checkers.fleets_follow_their_edges),
    ("INV-15", checkers.writes_have_a_reason),
    ("INV-15", checkers.counts_are_written_seldom),
    ("INV-16", checkers.nothing_commits_after_the_end),
)
