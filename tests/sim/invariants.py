"""Checkers of ``always true``, each a function from a history to what breaks it; see the table at the end."""

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Final

from pinfleet_operator.api.models.run_rules import EDGES
from tests.sim import blame, fleets, moves
from tests.sim.history import REPORT_SECONDS, Change, History, is_terminal
from tests.sim.record import Claimed
from tests.sim.world import BAD_RUNS

JOURNAL_STATES: Final = {"succeeded": {"Succeeded"}, "failed": {"Failed"}, "cancelled": {"Cancelled"}}
JOURNAL_STATES_OF_LIMITS: Final = {"Failed", "TimedOut"}
NOT_OF_THE_JOURNAL: Final = {"ResultRefused", "JournalUnreachable"}
RETIRE_SECONDS: Final = 2.0


def pin_never_changes(history: History) -> Iterator[str]:
    """INV-1."""
    for uid, states in history.runs().items():
        pins = [state.status["version"] for state in states if "version" in state.status]
        if len(set(pins)) > 1 or (pins and any("version" not in s.status for s in states[-len(pins) :])):
            yield f"run {uid} was pinned to {sorted(set(pins))}"


def rows_carry_the_pin(history: History) -> Iterator[str]:
    """INV-2."""
    runs = history.runs()
    for uid, row in history.journal.items():
        versions = {row["version"], *row["row_versions"]}
        pin = next((s.status["version"] for s in reversed(runs.get(uid, [])) if "version" in s.status), None)
        if len(versions) > 1 or (pin is not None and versions != {pin}):
            yield f"the journal of run {uid} carries {sorted(versions)}; it is pinned to {pin}"


def epochs_rise(history: History) -> Iterator[str]:
    """INV-3."""
    for uid, states in history.runs().items():
        last = (0, "", "")
        for state in states:
            status = state.status
            now = (status.get("epoch", 0), status.get("podUID", ""), status.get("boot", ""))
            is_new = status.get("phase") == "Running" and now[1:] != last[1:] and now[1]
            if now[0] < last[0] or (is_new and now[0] <= last[0]):
                yield f"run {uid}: epoch {now[0]} after {last[0]} at {state.at:.3f}"
            last = now
    claimed: dict[str, int] = {}
    for event in history.record.events:
        if isinstance(event, Claimed):
            if event.status == "claimed":
                claimed[event.run] = max(claimed.get(event.run, 0), event.epoch)
        elif event.status == "committed" and event.epoch < claimed.get(event.run, 0) and (event.steps or event.end):
            yield f"run {event.run}: epoch {event.epoch} committed at {event.at:.3f} after {claimed[event.run]}"


def steps_commit_once(history: History) -> Iterator[str]:
    """INV-4, and the same for ends."""
    ends = {
        (each.run, each.epoch, each.end) for each in history.record.commits if each.end and each.status == "committed"
    }
    yield from (f"run {run} ended {n} times" for run, n in Counter(run for run, _, _ in ends).items() if n > 1)
    done: dict[tuple[str, str], tuple[int, bytes, int]] = {}
    for commit in history.record.commits:
        if commit.status != "committed":
            continue
        for step, result, attempt in commit.steps:
            known = done.setdefault((commit.run, step), (commit.epoch, result, attempt))
            if known != (commit.epoch, result, attempt):
                yield f"run {commit.run}: {step} was committed twice, at epochs {known[0]} and {commit.epoch}"


def active_is_a_register(history: History) -> Iterator[str]:
    """INV-5 and INV-10: a run's pin was the active version at some moment between its creation and the pin."""
    actives = history.actives()
    for uid, states in history.runs().items():
        task = states[0].item["spec"]["task"]
        if task.get("version") or task["agentDeployment"] != history.fleet:
            continue
        pinned = next((state for state in states if "version" in state.status), None)
        if pinned is None:
            continue
        born, at = states[0].rv, pinned.rv
        until = [rv for rv, _ in actives[1:]] + [at + 1]
        allowed = {name for (rv, name), end in zip(actives, until, strict=False) if rv < at and end > born}
        if pinned.status["version"] not in allowed:
            yield f"run {uid} was pinned to {pinned.status['version']}; active in its time: {sorted(allowed)}"


def retired_is_empty(history: History) -> Iterator[str]:
    """INV-6."""
    phases: dict[str, str] = {}
    retired, dormant = set[str](), set[str]()
    changes = sorted(
        [*((c.rv, "run", c) for c in history.changes["agentruns"]),
         *((c.rv, "fleet", c) for c in history.changes["agentdeployments"])],
        key=lambda each: each[0],
    )  # fmt: skip
    open_on: dict[str, tuple[str, str]] = {}  # run uid -> version, phase
    for _, kind, change in changes:
        if kind == "fleet":
            phases = {each["name"]: each["phase"] for each in change.status.get("versions", [])}
            retired = {name for name, phase in phases.items() if phase == "Retired"}
            dormant = {name for name, phase in phases.items() if phase == "Dormant"}
        else:
            uid, version = change.item["metadata"]["uid"], change.status.get("version")
            open_on.pop(uid, None)
            if version and not is_terminal(change.status) and change.verb != "DELETED":
                open_on[uid] = version, change.status.get("phase", "Pending")
        for uid, (version, phase) in open_on.items():
            if version in dormant and phase not in {"Parked", "Held"}:
                yield f"version {version} is without pods at {change.at:.3f} while run {uid} is {phase}"
            if version in retired:
                yield f"version {version} is retired at {change.at:.3f} while run {uid} is open"


def retires_in_time(history: History) -> Iterator[str]:
    """INV-7, where nothing fails: pods of an empty version are told to go within 2 s of its last run's end."""
    if history.has_faults:
        return
    actives = history.actives()
    for i, ((_, name), (left_rv, _)) in enumerate(pairwise(actives)):
        if name in {later for _, later in actives[i + 1 :]}:
            continue  # it came back, with pods of its own
        ends = [s.at for states in history.runs().values() for s in states
                if s.status.get("version") == name and is_terminal(s.status)]  # fmt: skip
        left = next(c.at for c in history.changes["agentdeployments"] if c.rv == left_rv)
        told: dict[str, float] = {}
        for change in history.changes["pods"]:
            meta = change.item["metadata"]
            is_later = meta["uid"] not in told and change.at > left  # its spec came back, and was given up again
            if meta["labels"].get("pinfleet.dev/version") == name and not is_later:
                told.setdefault(meta["uid"], float("inf"))
                if "deletionTimestamp" in meta or change.verb == "DELETED":
                    told[meta["uid"]] = min(told[meta["uid"]], change.at)
        due = max([left, *ends]) + RETIRE_SECONDS
        if any(at > due for at in told.values()) and history.ended_at > due:
            yield f"version {name} was empty at {due - RETIRE_SECONDS:.3f}; its pods were told to go at {told}"


def edges_are_declared(history: History) -> Iterator[str]:
    """INV-13."""
    for uid, states in history.runs().items():
        phase, generation = "Pending", 0
        for state in states:
            status = state.status
            now = status.get("phase", "Pending")
            if now != phase and now not in EDGES[phase]:  # type: ignore[index]
                yield f"run {uid}: {phase} became {now}"
            if status.get("observedGeneration", generation) < generation:
                yield f"run {uid}: observedGeneration fell"
            phase, generation = now, status.get("observedGeneration", generation)


def writes_are_few(history: History) -> Iterator[str]:
    """INV-15: whatever is not an assignment, a park, a loss or an end is at most one write per 30 s, and the pin."""
    for uid, states in history.runs().items():
        kinds = Counter(_kind(old, new) for old, new in pairwise(states))
        age = states[-1].at - states[0].at
        allowed = 1 + age / REPORT_SECONDS
        if kinds["report"] > allowed:
            yield f"run {uid}: {kinds['report']} progress writes in {age:.0f} s"
        if not history.has_faults and kinds["assign"] > 1 + kinds["park"]:
            yield f"run {uid}: {kinds['assign']} assignments, {kinds['park']} parks, and nothing failed"
        if kinds["assign"] > 1 + kinds["park"] + age + 10:
            yield f"run {uid}: {kinds['assign']} assignments in {age:.0f} s: a hot loop"


def _kind(old: Change, new: Change) -> str:
    was, now = old.status, new.status
    if new.verb == "DELETED" or was == now:
        return "user"
    if now.get("epoch", 0) > was.get("epoch", 0):
        return "assign"
    if now.get("phase") != was.get("phase", "Pending"):
        return "park" if now.get("phase") == "Parked" else "change"
    return "pin" if "version" in now and "version" not in was else "report"


def outcomes_are_the_journals(history: History) -> Iterator[str]:
    """INV-16."""
    for uid, states in history.runs().items():
        ends = [i for i, state in enumerate(states) if is_terminal(state.status)]
        if not ends:
            continue
        end, before = states[ends[0]], states[max(0, ends[0] - 1)].status.get("phase")
        row = history.journal.get(uid)
        status = end.status
        if row is not None and before not in {"Parked", "Held"} and status.get("reason") not in NOT_OF_THE_JOURNAL:
            expected = JOURNAL_STATES.get(row["state"], JOURNAL_STATES_OF_LIMITS if row["state"] == "limit" else set())
            if status["phase"] not in expected:
                yield f"run {uid} is {status['phase']} ({status.get('reason')}); its journal says {row['state']}"
        if status.get("reason") == "JournalUnreachable":
            continue
        for begun in history.record.begun:
            if begun.run == uid and begun.at > end.at:
                yield f"run {uid}: step {begun.step} began at {begun.at:.3f} after its end at {end.at:.3f}"


def nothing_is_told(history: History) -> Iterator[str]:
    """INV-17: inputs hold a secret that no status, event or log line may show."""
    for plural, changes in history.changes.items():
        for change in changes:
            if "hush" in str(change.status):
                yield f"the status of {plural} {change.name} shows an input"
    for line in history.logs:
        if "hush" in str(line):
            yield f"a log line shows an input: {line}"


def every_run_ends(history: History) -> Iterator[str]:
    """No run is lost or stuck: at the end of the simulation each has ended, or was deleted by hand."""
    for uid, states in history.runs().items():
        if states[0].name not in BAD_RUNS and states[-1].verb != "DELETED" and not is_terminal(states[-1].status):
            status = {key: states[-1].status.get(key) for key in ("phase", "epoch", "pod", "reason", "attempts")}
            yield f"run {uid} is stuck: {status}"


def no_step_begins_twice_at_an_epoch(history: History) -> Iterator[str]:
    """INV-20: of two leaders, offers and pods only one makes a step begin at one epoch."""
    counted = Counter((each.run, each.step, each.epoch) for each in history.record.begun)
    for (run, step, epoch), count in counted.items():
        if count > 1:
            yield f"run {run}: step {step} began {count} times at epoch {epoch}"


def no_busy_pod_is_removed(history: History) -> Iterator[str]:
    """A pod that answers and serves runs is never the one that goes."""
    for each in history.record.removed:
        yield f"pod {each.pod} was deleted at {each.at:.3f} while it served {each.runs}"


def nothing_begins_twice(history: History) -> Iterator[str]:
    """Where nothing fails, no step's body begins twice."""
    if history.has_faults:
        return
    for (run, step), count in Counter((each.name, each.step) for each in history.record.begun).items():
        if count > 1:
            yield f"run {run}: step {step} began {count} times"


CHECKERS: Final[dict[str, Callable[[History], Iterator[str]]]] = {
    "INV-1": pin_never_changes,
    "INV-2": rows_carry_the_pin,
    "INV-3": epochs_rise,
    "INV-4": steps_commit_once,
    "INV-5": active_is_a_register,
    "INV-6": retired_is_empty,
    "INV-7": retires_in_time,
    "INV-9": fleets.no_orphan_is_left,
    "INV-10": fleets.one_version_is_active,
    "INV-13": edges_are_declared,
    "INV-13 of versions": fleets.versions_follow_their_edges,
    "INV-15": writes_are_few,
    "INV-16": outcomes_are_the_journals,
    "INV-17": nothing_is_told,
    "INV-20": no_step_begins_twice_at_an_epoch,
    "busy": no_busy_pod_is_removed,
    "blame": blame.no_neighbour_is_charged,
    "charge": moves.only_deaths_are_charged,
    "claim": moves.a_run_is_claimed_where_it_was_sent,
    "leave": moves.no_run_leaves_a_good_pod,
    "timer": moves.a_fired_timer_is_over,
    "ends": every_run_ends,
    "once": nothing_begins_twice,
}


def broken(history: History, *names: str) -> list[str]:
    """What is broken, each with the invariant's name; all of them, or the named ones."""
    return [f"{name}: {what}" for name in names or CHECKERS for what in CHECKERS[name](history)]
