"""Checkers of what only a real API server, its audit log and real journals show; `history.check` calls them. Pure."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from tests.integration.recording import Json, Recording, Write
from tests.sim.history import Change, Watched, is_terminal

SETTLED_SECONDS: Final = 6.0  # counts are written 2 s after the run that moved them, at the latest
ORPHAN_SECONDS: Final = 10.0
COUNT_SECONDS: Final = 1.5  # 2 s apart when written; watches bring them a little nearer or further
COUNTS: Final = {"open", "running", "parked", "pending", "held", "oldestOpenRun"}
CLOCK_SECONDS: Final = 1.0  # between what a watch has shown and what was stamped
VERSION_EDGES: Final = {
    "Preparing": {"Candidate", "Active", "Failed", "Superseded"},
    "Candidate": {"Active", "Preparing", "Failed", "Superseded"},
    "Active": {"Draining"},
    "Draining": {"Dormant", "Retired", "Active", "Candidate", "Preparing", "Failed"},
    "Dormant": {"Draining", "Retired", "Active", "Candidate", "Preparing", "Failed"},
    "Retired": {"Draining", "Preparing", "Candidate", "Active", "Failed"},
    "Failed": {"Preparing", "Candidate", "Active", "Superseded"},
    "Superseded": {"Preparing", "Candidate", "Active", "Failed"},
}
"""docs/architecture.md: a version's life; a pass may see two steps at once, as Preparing and ready."""


def is_disturbed(recording: Recording) -> bool:
    """Whether anything failed or was made to: pods, the network, or the operator."""
    if recording.has_faults:
        return True
    for change in recording.of("pods"):
        annotations = change.item["metadata"].get("annotations", {})
        if change.status.get("phase") == "Failed" or any(name.startswith("localcluster.") for name in annotations):
            return True
    killed = any(w.resource == "pods" and w.verb == "delete" and not _is_known(w) for w in recording.writes)
    return killed or len(terms(recording)) > 1


def _is_known(write: Write) -> bool:
    return write.is_operators or write.user.startswith("system:")


def terms(recording: Recording) -> set[tuple[str, int]]:
    """Who led, and in which term, from the first object on."""
    mine = [change.rv for plural, changes in recording.changes.items() if plural != "leases" for change in changes]
    since = min(mine, default=0)
    leases = recording.of("leases")
    before = [change for change in leases if change.rv < since][-1:]
    seen = [each.item["spec"] for each in [*before, *(change for change in leases if change.rv >= since)]]
    return {(spec["holderIdentity"], spec.get("leaseTransitions", 0)) for spec in seen if spec.get("holderIdentity")}


def _terms_begun(recording: Recording) -> list[float]:
    """When somebody began to lead; a process that ended and came back by the same name does so too."""
    specs = [(change.at, change.item["spec"]) for change in recording.of("leases")]
    held = [(at, spec.get("holderIdentity"), spec.get("leaseTransitions", 0)) for at, spec in specs]
    return [now[0] for before, now in pairwise(held) if now[1] and now[1:] != before[1:]]


def recorded_steps_never_run_again(recording: Recording) -> Iterator[str]:
    """INV-4: a step that the journal holds does not begin at a later epoch."""
    names = {change.item["metadata"]["uid"]: change.name for change in recording.of("agentruns")}
    committed: dict[tuple[str, str], int] = {}
    for row in recording.steps:
        for step in (row.key, str(row.n)):
            committed.setdefault((names.get(row.run, ""), step), row.epoch)
    for line in recording.trace:
        epoch = committed.get((line.run, line.step))
        if epoch is not None and line.epoch > epoch:
            yield f"run {line.run}: step {line.step} was recorded at epoch {epoch} and began again at {line.epoch}"


def deleted_versions_are_empty(recording: Recording) -> Iterator[str]:
    """INV-6: a version that the operator deletes has no open run."""
    by_operator = {w.name for w in recording.writes
                   if w.resource == "agentversions" and w.verb == "delete" and w.is_operators}  # fmt: skip
    for change in recording.of("agentversions"):
        if change.verb != "DELETED" or change.name not in by_operator:
            continue
        spec = change.item["spec"]
        for run in _states_at(recording.of("agentruns"), change.rv).values():
            is_its = (run.item["spec"]["task"]["agentDeployment"], run.status.get("version")) == (
                spec["fleet"], spec["id"])  # fmt: skip
            if is_its and not is_terminal(run.status):
                yield f"version {change.name} was deleted while run {run.name} was {run.status.get('phase')}"


def nothing_is_written_in_vain(recording: Recording) -> Iterator[str]:
    """INV-8: once all is as asked, and nobody has written anything for a while, the operator writes nothing either.

    A new leader writes its versions' Secrets once: it cannot read them.
    """
    previous, begun = 0.0, _terms_begun(recording)
    for write in recording.writes:
        quiet, previous = write.at - previous, write.at
        if not write.is_operators or quiet < SETTLED_SECONDS or previous == quiet or _is_housekeeping(write):
            continue
        if any(write.at - quiet < at <= write.at for at in begun):
            continue
        if _is_settled(recording, write.at - CLOCK_SECONDS):
            yield f"after {quiet:.0f} s without a write, {write.verb} {write.resource} {write.name}"


def _is_housekeeping(write: Write) -> bool:
    """What its time alone makes due: surplus pods go after a minute, ended runs and old versions by their limits."""
    return write.resource == "pods" or write.verb == "delete"


def _is_settled(recording: Recording, at: float) -> bool:
    """Whether every run had ended, and every fleet was as asked, at a time."""
    runs = _latest_before(recording.of("agentruns"), at)
    fleets = _latest_before(recording.of("agentdeployments"), at)
    return all(is_terminal(each.status) for each in runs) and all(_is_as_asked(each) for each in fleets)


def _is_as_asked(fleet: Change) -> bool:
    conditions = {each["type"]: each["status"] for each in fleet.status.get("conditions", [])}
    is_seen = fleet.status.get("observedGeneration") == fleet.item["metadata"].get("generation")
    return is_seen and conditions.get("Drained") == "True" and not {"Reconciling", "Stalled"} & conditions.keys()


def no_orphan_is_left(recording: Watched) -> Iterator[str]:
    """INV-9: no version without its fleet, no pod of ours without its version, for longer than a sweep takes."""
    for child, label, parent in (
        ("agentversions", "pinfleet.dev/fleet-uid", "agentdeployments"),
        ("pods", "", "agentversions"),
    ):
        parents = {change.item["metadata"]["uid"]: change for change in recording.of(parent)}
        for change in _living(recording.of(child)):
            meta = change.item["metadata"]
            if not any(name.startswith("pinfleet.dev/") for name in meta.get("labels", {})):
                continue
            owner = meta["labels"].get(label) if label else _owner(meta)
            found = parents.get(owner or "")
            if found is None or (found.verb == "DELETED" and found.at < recording.ended_at - ORPHAN_SECONDS):
                yield f"{child} {change.name} has no {parent} {owner}"


def _owner(meta: Json) -> str | None:
    owners = [each["uid"] for each in meta.get("ownerReferences", []) if each["kind"] == "AgentVersion"]
    return owners[0] if owners else None


def one_version_is_active(recording: Watched) -> Iterator[str]:
    """INV-10: the version that is called Active is the one that new runs get, and there is one."""
    for change in recording.of("agentdeployments"):
        named = change.status.get("activeVersion")
        active = [each["name"] for each in change.status.get("versions", []) if each["phase"] == "Active"]
        if len(active) > 1 or (active and active != [named]):
            yield f"fleet {change.name}: {active} are Active, new runs go to {named}"


def fleets_follow_their_edges(recording: Watched) -> Iterator[str]:
    """INV-13: a fleet's observedGeneration never falls, its versions' phases follow their edges."""
    generations: dict[str, int] = {}
    phases: dict[tuple[str, str], str] = {}
    for change in recording.of("agentdeployments"):
        uid = change.item["metadata"]["uid"]
        seen = change.status.get("observedGeneration", 0)
        if seen < generations.get(uid, 0):
            yield f"fleet {change.name}: observedGeneration fell from {generations[uid]} to {seen}"
        generations[uid] = seen
        for each in change.status.get("versions", []):
            before = phases.get((uid, each["name"]), each["phase"])
            if each["phase"] != before and each["phase"] not in VERSION_EDGES[before]:
                yield f"fleet {change.name}: version {each['name']} went from {before} to {each['phase']}"
            phases[uid, each["name"]] = each["phase"]


def writes_have_a_reason(recording: Recording) -> Iterator[str]:
    """INV-15: writes of a run and of a fleet, by the audit log, within what happened to them."""
    made = Counter(w.name for w in recording.writes
                   if w.resource == "agentruns/status" and w.is_operators and w.is_done)  # fmt: skip
    for states in _by_uid(recording.of("agentruns")).values():
        allowed = _run_budget(states)
        if made[states[0].name] > allowed:
            yield f"run {states[0].name}: {made[states[0].name]} writes, {allowed} had a reason"
    yield from _fleet_writes(recording)


def _run_budget(states: list[Change]) -> int:
    """Assignments, parks, losses, an end, an explicit pin, a refusal told, and in each 30 s a reason or progress."""
    phases = [state.status.get("phase", "Pending") for state in states]
    entered = [phase for before, phase in zip(["Pending", *phases], phases, strict=False) if phase != before]
    epochs: int = max(state.status.get("epoch", 0) for state in states)
    has_version = bool(states[0].item["spec"]["task"].get("version"))
    left = sum(1 for phase in entered if phase != "Running")
    reasons = [state.status.get("reason") for state in states]
    refused = sum(1 for before, reason in pairwise(reasons) if reason == "WriteRefused" != before)
    return epochs + left + refused + int(has_version) + int((states[-1].at - states[0].at) / 30)


def _fleet_writes(recording: Recording) -> Iterator[str]:
    """A change of a fleet costs 12 and 2 for each pod that comes or goes; counts cost one in 2 s while runs move.

    A version's own status has no counts. A leader's first pass may cost 6.
    """
    kinds = {"agentdeployments", "agentdeployments/status", "agentversions", "agentversions/status", "pods", "secrets"}
    made = [w for w in recording.writes if w.resource in kinds and w.is_operators and w.is_done]
    changes = sum(
        change.verb == "ADDED" or "deletionTimestamp" in change.item["metadata"] or change.verb == "DELETED"
        for change in recording.of("agentdeployments")
    )
    changes += sum(len({c.item["metadata"].get("generation") for c in states}) - 1
                   for states in _by_uid(recording.of("agentdeployments")).values())  # fmt: skip
    pods = len({change.item["metadata"]["uid"] for change in recording.of("pods")})
    moves = [change.at for change in recording.of("agentruns")]
    fleets = len(_by_uid(recording.of("agentdeployments")))
    counts = fleets * (2 + (max(moves) - min(moves)) / 2) if moves else 0
    allowed = int(12 * changes + 4 * pods + counts + 6 * max(0, len(terms(recording)) - 1))
    if len(made) > allowed:
        kinds_made = dict(Counter(f"{w.verb} {w.resource}" for w in made))
        yield f"{len(made)} writes for {changes} changes and {pods} pods, {allowed} had a reason: {kinds_made}"


def counts_are_written_seldom(recording: Recording) -> Iterator[str]:
    """INV-15: a fleet's counts alone are written at most once in 2 s, but at once where an old version became empty.

    A new leader does not know when its predecessor wrote them.
    """
    begun = _terms_begun(recording)
    for states in _by_uid(recording.of("agentdeployments")).values():
        for before, after in pairwise(states):
            if after.verb == "DELETED" or _without_counts(before) != _without_counts(after):
                continue
            emptied = any(v["open"] == 0 and v["phase"] != "Active" for v in after.status.get("versions", []))
            is_early = after.at - before.at < COUNT_SECONDS and not any(before.at <= at <= after.at for at in begun)
            if before.status != after.status and is_early and not emptied:
                yield f"fleet {after.name}: counts were written after {after.at - before.at:.2f} s"


def _without_counts(change: Change) -> Json:
    versions = [{k: v for k, v in each.items() if k not in COUNTS} for each in change.status.get("versions", [])]
    whole = {k: v for k, v in change.status.items() if k not in {"countedAtResourceVersion", "pendingRuns"}}
    return {**whole, "versions": versions, "generation": change.item["metadata"].get("generation")}


def nothing_commits_after_the_end(recording: Recording) -> Iterator[str]:
    """INV-16: once the object is terminal, no commit succeeds; a journal that nobody could reach excepted."""
    for uid, states in _by_uid(recording.of("agentruns")).items():
        end = next((state for state in states if is_terminal(state.status)), None)
        if end is None or end.status.get("reason") == "JournalUnreachable":
            continue
        for row in recording.steps:
            if row.run == uid and row.at > end.at + CLOCK_SECONDS:
                yield f"run {end.name}: {row.key} was committed {row.at - end.at:.1f} s after its end"


def _by_uid(changes: list[Change]) -> dict[str, list[Change]]:
    found: dict[str, list[Change]] = {}
    for change in changes:
        found.setdefault(change.item["metadata"]["uid"], []).append(change)
    return found


def _states_at(changes: list[Change], rv: int) -> dict[str, Change]:
    """The last state of each object before a resourceVersion; those that were deleted are left out."""
    found = {change.item["metadata"]["uid"]: change for change in changes if change.rv < rv}
    return {uid: change for uid, change in found.items() if change.verb != "DELETED"}


def _latest_before(changes: list[Change], at: float) -> list[Change]:
    found = {change.item["metadata"]["uid"]: change for change in changes if change.at < at}
    return [change for change in found.values() if change.verb != "DELETED"]


def _living(changes: list[Change]) -> list[Change]:
    last = {change.item["metadata"]["uid"]: change for change in changes}
    return [c for c in last.values() if c.verb != "DELETED" and "deletionTimestamp" not in c.item["metadata"]]
