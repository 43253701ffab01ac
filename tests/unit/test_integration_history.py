"""Every checker of a real cluster's history flags one that breaks its invariant, and passes one that does not."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.integration.history import CHECKERS, SHARED, check
from tests.integration.recording import Recording, RunRow, StepRow, TraceLine, Write
from tests.sim.history import Change

Spoil = Callable[[Recording], None]
OWN = "system:serviceaccount:pinfleet-system:pinfleet-operator"
FLEET, VERSION = ("steps", "f"), ("steps.v1", "v")
CONDITIONS = [{"type": "Ready", "status": "True"}, {"type": "Drained", "status": "True"}]


def item(named: tuple[str, str], spec: Any, status: Any, **meta: Any) -> Any:
    """An object."""
    return {"metadata": {"name": named[0], "uid": named[1], **meta}, "spec": spec, "status": copy.deepcopy(status)}


def change(recording: Recording, plural: str, rv: int, what: Any, *, at: float | None = None, verb: str = "") -> None:
    """One more state of an object; it is seen at its resourceVersion, in seconds, unless told otherwise."""
    known = any(each.item["metadata"]["uid"] == what["metadata"]["uid"] for each in recording.of(plural))
    verb = verb or ("MODIFIED" if known else "ADDED")
    recording.changes.setdefault(plural, []).append(Change(rv, rv if at is None else at, verb, what))
    recording.changes[plural].sort(key=lambda each: each.rv)


def fleet(recording: Recording, rv: int, active: str = "v1", *, at: float | None = None, **versions: Any) -> None:
    """A status of the fleet; a version's phase, or its whole entry."""
    shown = [{"name": name, **({"phase": v, "open": 0} if isinstance(v, str) else v)} for name, v in versions.items()]
    status = {"observedGeneration": 1, "activeVersion": active, "versions": shown, "conditions": CONDITIONS}
    change(recording, "agentdeployments", rv, item(FLEET, {}, status, generation=1), at=at)


def run(recording: Recording, rv: int, *, at: float | None = None, **status: Any) -> None:
    """A status of the run."""
    change(recording, "agentruns", rv, item(("a", "u"), {"task": {"agentDeployment": "steps"}}, status), at=at)


def version(recording: Recording, rv: int, *, verb: str = "") -> None:
    """The version v1."""
    labels = {"pinfleet.dev/fleet": "steps", "pinfleet.dev/fleet-uid": "f"}
    change(recording, "agentversions", rv, item(VERSION, {"fleet": "steps", "id": "v1"}, {}, labels=labels), verb=verb)


def pod(recording: Recording, rv: int, uid: str = "p", owner: str = "v", **status: Any) -> None:
    """A pod of it."""
    labels = {"pinfleet.dev/fleet": "steps", "pinfleet.dev/version": "v1"}
    owners = [{"kind": "AgentVersion", "uid": owner}]
    change(recording, "pods", rv, item((f"pod-{uid}", uid), {}, status, labels=labels, ownerReferences=owners))


def running(epoch: int = 1, uid: str = "p", **more: Any) -> dict[str, Any]:
    """The status of a run that a pod holds."""
    return {"phase": "Running", "version": "v1", "epoch": epoch, "podUID": uid, "boot": "b", **more}


def wrote(recording: Recording, at: float, resource: str, name: str, verb: str = "patch", user: str = OWN) -> None:
    """One write of the audit log."""
    recording.writes.append(Write(at, user, verb, resource, name, 200))
    recording.writes.sort(key=lambda each: each.at)


def committed(recording: Recording, at: float, n: int, epoch: int = 1, digest: bytes = b"1") -> None:
    """A step in the journal."""
    recording.steps.append(StepRow(at, "u", "", "work", n, epoch, 1, "v1", digest))


def began(recording: Recording, at: float, step: int, epoch: int = 1) -> None:
    """A step's body in the trace."""
    recording.trace.append(TraceLine(at, "a", str(step), epoch, "p", "v1"))


def claimed(recording: Recording, at: float, epoch: int, *, state: str = "succeeded", ended: float | None = 14) -> None:
    """The run in the journal."""
    recording.claims.append(RunRow(at, "u", epoch, "b", "p", "v1", state, ended))


def good() -> Recording:
    """A fleet, its version, one pod, and a run of one step that ended."""
    made = Recording("ns", ended_at=1000.0)
    fleet(made, 1, v1="Active")
    version(made, 2)
    pod(made, 3, phase="Running")
    run(made, 10)
    run(made, 11, **running())
    run(made, 15, **running() | {"phase": "Succeeded"})
    claimed(made, 11.5, 1)
    began(made, 12, 1)
    committed(made, 13, 1)
    for at, resource, name in ((11, "agentruns/status", "a"), (15, "agentruns/status", "a")):
        wrote(made, at, resource, name)
    change(made, "leases", 1, {"metadata": {"uid": "l", "name": "l"}, "spec": {"holderIdentity": "o"}})
    return made


def _pin_changes(made: Recording) -> None:
    run(made, 12, **running() | {"version": "v2"})


def _epoch_falls(made: Recording) -> None:
    run(made, 12, **running(2, "q"))
    run(made, 13, **running(1))


def _stale_commit(made: Recording) -> None:
    claimed(made, 12.5, 2)
    committed(made, 13.5, 2, epoch=1)


def _result_changes(made: Recording) -> None:
    committed(made, 13, 1, digest=b"2")


def _recorded_step_begins_again(made: Recording) -> None:
    pod(made, 4, phase="Failed")
    began(made, 14, 1, epoch=2)


def _stale_pin(made: Recording) -> None:
    fleet(made, 9, "v2", v1="Draining", v2="Active")


def _retired_while_open(made: Recording) -> None:
    fleet(made, 12, "v2", v1="Retired", v2="Active")


def _deleted_while_open(made: Recording) -> None:
    version(made, 12, verb="DELETED")
    wrote(made, 12, "agentversions", "steps.v1", "delete")


def _never_retires(made: Recording) -> None:
    fleet(made, 16, "v2", v1="Draining", v2="Active")


def _written_in_vain(made: Recording) -> None:
    wrote(made, 100, "agentdeployments/status", "steps")


def _orphaned_pod(made: Recording) -> None:
    pod(made, 4, uid="q", owner="nobody")


def _orphaned_version(made: Recording) -> None:
    change(made, "agentdeployments", 20, item(FLEET, {}, {}, generation=1), verb="DELETED")


def _two_are_active(made: Recording) -> None:
    fleet(made, 16, "v1", v1="Active", v2="Active")


def _goes_on_after_the_end(made: Recording) -> None:
    run(made, 16, **running(2))


def _version_skips(made: Recording) -> None:
    fleet(made, 16, "v1", v1="Superseded")


def _generation_falls(made: Recording) -> None:
    change(made, "agentdeployments", 16, item(FLEET, {}, {"observedGeneration": 0}, generation=1))


def _run_is_written_too_often(made: Recording) -> None:
    for n in range(3):
        wrote(made, 12 + n / 10, "agentruns/status", "a")


def _progress_is_written_too_often(made: Recording) -> None:
    for n in range(5):
        run(made, 12 + n, **running(steps=n), at=11 + n / 10)
    run(made, 20, **running() | {"phase": "Succeeded"}, at=12)


def _fleet_is_written_too_often(made: Recording) -> None:
    for n in range(60):
        wrote(made, 12 + n / 100, "agentversions/status", "steps.v1")


def _counts_are_written_too_often(made: Recording) -> None:
    fleet(made, 17, v1={"phase": "Active", "open": 1}, at=20.0)
    fleet(made, 18, v1={"phase": "Active", "open": 2}, at=20.5)


def _outcome_differs(made: Recording) -> None:
    made.claims[0] = replace(made.claims[0], state="cancelled")


def _commits_after_the_end(made: Recording) -> None:
    committed(made, 18, 2)


def _begins_twice(made: Recording) -> None:
    began(made, 12.5, 1)


def _was_not_watched(made: Recording) -> None:
    made.gaps.append("the watch of pods was refused")


BAD: list[tuple[str, Spoil]] = [
    ("INV-1", _pin_changes),
    ("INV-3", _epoch_falls),
    ("INV-3", _stale_commit),
    ("INV-4", _result_changes),
    ("INV-4", _recorded_step_begins_again),
    ("INV-5", _stale_pin),
    ("INV-6", _retired_while_open),
    ("INV-6", _deleted_while_open),
    ("INV-7", _never_retires),
    ("INV-8", _written_in_vain),
    ("INV-9", _orphaned_pod),
    ("INV-9", _orphaned_version),
    ("INV-10", _two_are_active),
    ("INV-13", _goes_on_after_the_end),
    ("INV-13", _version_skips),
    ("INV-13", _generation_falls),
    ("INV-15", _run_is_written_too_often),
    ("INV-15", _progress_is_written_too_often),
    ("INV-15", _fleet_is_written_too_often),
    ("INV-15", _counts_are_written_too_often),
    ("INV-16", _outcome_differs),
    ("INV-16", _commits_after_the_end),
    ("once", _begins_twice),
    ("history", _was_not_watched),
]


@pytest.mark.parametrize(("invariant", "spoil"), BAD, ids=[spoil.__name__.strip("_") for _, spoil in BAD])
@pytest.mark.case(
    "INV-1",
    "INV-3",
    "INV-4",
    "INV-5",
    "INV-6",
    "INV-7",
    "INV-8",
    "INV-9",
    "INV-10",
    "INV-13",
    "INV-15",
    "INV-16",
)
def test_a_bad_history_is_flagged(invariant: str, spoil: Spoil) -> None:
    """A history that is good but for one thing is flagged under the name of what it breaks."""
    made = good()
    spoil(made)
    assert invariant in {name_of(each) for each in check(made)}, check(made)


def name_of(violation: str) -> str:
    """The invariant that a violation names, with or without the fleet before it."""
    return violation.removeprefix("steps: ").partition(":")[0]


def test_a_good_history_is_not_flagged() -> None:
    """Deployed, run, ended: nothing is said."""
    assert check(good()) == []


def test_every_checker_has_a_control() -> None:
    """A checker without a history that it flags shows nothing."""
    assert {invariant for invariant, _ in BAD} >= {*SHARED, *(name for name, _ in CHECKERS)}


def test_the_invariants_of_the_slice_are_asked() -> None:
    """INV-1, 3 to 10, 13, 15 and 16 are asked of every history."""
    asked = {*SHARED, *(name for name, _ in CHECKERS)}
    assert asked >= {f"INV-{n}" for n in (1, *range(3, 11), 13, 15, 16)}
