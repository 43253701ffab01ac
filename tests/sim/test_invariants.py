"""Every checker flags a history that breaks its invariant, and passes one that does not."""

from typing import Any

import pytest

from tests.sim.history import Change, History
from tests.sim.invariants import CHECKERS, broken
from tests.sim.record import Begun, Booted, Claimed, Committed, Removed

FLEET_ITEM = {"metadata": {"name": "fleet", "uid": "f"}}


def _run(*states: dict[str, Any], apart_seconds: float = 1.0, verb: str = "MODIFIED") -> History:
    """A history of one run with these statuses, while v1 is active."""
    history = History()
    _fleet(history, 1, activeVersion="v1")
    item = {"metadata": {"name": "a", "uid": "u"}, "spec": {"task": {"agentDeployment": "fleet"}}}
    for i, status in enumerate(({}, *states)):
        kind = "ADDED" if i == 0 else verb
        history.changes["agentruns"].append(Change(10 + i, 10 + i * apart_seconds, kind, {**item, "status": status}))
    return history


def _fleet(history: History, rv: int, **status: Any) -> None:
    history.changes["agentdeployments"].append(Change(rv, float(rv), "MODIFIED", {**FLEET_ITEM, "status": status}))


def _running(epoch: int = 1, pod: str = "p", **more: Any) -> dict[str, Any]:
    return {"phase": "Running", "version": "v1", "epoch": epoch, "podUID": pod, "boot": "b", **more}


def _ended(**more: Any) -> dict[str, Any]:
    return {**_running(), "phase": "Succeeded", **more}


def _good() -> History:
    history = _run(_running(), _ended())
    history.has_faults = False
    history.ended_at = 1000.0
    history.journal["u"] = {"state": "succeeded", "version": "v1", "row_versions": {"v1"}}
    _commit(history, 1, "work#1", end=None)
    history.record.begun.append(Begun(11.0, "u", "a", 1, 1, "p", "v1"))
    return history


def _commit(history: History, epoch: int, step: str, *, end: str | None, result: bytes = b"1") -> None:
    event = Committed(11.0, "u", epoch, ((step, result, 1),) if step else (), end, False, "committed")
    history.record.commits.append(event)
    history.record.events.append(event)


def _claim(history: History, epoch: int) -> None:
    history.record.events.append(Claimed(11.0, "u", epoch, "b", "p", "v1", "claimed"))


def _late_commit() -> History:
    history = _good()
    _claim(history, 2)
    _commit(history, 1, "work#2", end=None)
    return history


def _twice(*, end: str | None) -> History:
    history = _good()
    _commit(history, 2, "" if end else "work#1", end=end)
    _commit(history, 3, "" if end else "work#1", end=end, result=b"2")
    return history


def _other_rows() -> History:
    history = _good()
    history.journal["u"]["row_versions"] = {"v1", "v2"}
    return history


def _pinned_to_the_old() -> History:
    history = _good()
    _fleet(history, 9, activeVersion="v2")
    return history


def _retired_while_open() -> History:
    history = _good()
    _fleet(history, 11, activeVersion="v2", versions=[{"name": "v1", "phase": "Retired"}])
    return history


def _dormant_while_awake() -> History:
    history = _good()
    _fleet(history, 11, activeVersion="v2", versions=[{"name": "v1", "phase": "Dormant"}])
    return history


def _never_retired() -> History:
    history = _good()
    _fleet(history, 12, activeVersion="v2")
    pod = {"metadata": {"name": "p", "uid": "p", "labels": {"pinfleet.dev/version": "v1"}}}
    history.changes["pods"].append(Change(2, 2.0, "ADDED", pod))
    return history


def _other_outcome() -> History:
    history = _good()
    history.journal["u"]["state"] = "cancelled"
    return history


def _goes_on_after_its_end() -> History:
    history = _good()
    history.record.begun.append(Begun(20.0, "u", "a", 2, 1, "p", "v1"))
    return history


def _begun_twice() -> History:
    history = _good()
    history.record.begun.append(Begun(11.5, "u", "a", 1, 2, "q", "v1"))
    return history


def _told() -> History:
    history = _good()
    history.logs.append({"event": "assigned", "input": "hush"})
    return history


def _begun_twice_at_an_epoch() -> History:
    history = _good()
    history.has_faults = True
    history.record.begun.append(Begun(11.5, "u", "a", 1, 1, "q", "v1"))
    return history


def _orphan() -> History:
    history = _good()
    labels = {"pinfleet.dev/fleet-uid": "gone"}
    version = {"metadata": {"name": "other.v1", "uid": "o", "labels": labels}}
    history.changes["agentversions"].append(Change(3, 3.0, "ADDED", version))
    return history


def _two_active() -> History:
    history = _good()
    both = [{"name": "v1", "phase": "Active"}, {"name": "v2", "phase": "Active"}]
    _fleet(history, 12, activeVersion="v1", versions=both)
    return history


def _back_to_preparing() -> History:
    history = _good()
    for rv, phase in ((12, "Active"), (13, "Preparing")):
        _fleet(history, rv, activeVersion="v1", versions=[{"name": "v1", "phase": phase}])
    return history


def _busy_pod_removed() -> History:
    history = _good()
    history.record.removed.append(Removed(11.0, "p", ("u",)))
    return history


def _charged_for_another() -> History:
    """Two runs on one pod; it dies; the first is charged."""
    history = _run(_running(attempts=1), _running(2, pod="q", attempts=2))
    item = {"metadata": {"name": "b", "uid": "w"}, "spec": {"task": {"agentDeployment": "fleet"}}}
    for rv, status in ((10, {}), (11, _running(attempts=1)), (13, _running(2, pod="q", attempts=1))):
        history.changes["agentruns"].append(Change(rv, rv, "MODIFIED", {**item, "status": status}))
    dead = {"metadata": {"name": "p", "uid": "p"}, "status": {"phase": "Failed"}}
    history.changes["pods"].append(Change(12, 11.5, "MODIFIED", dead))
    return history


def _moved(*, pod_is_told: bool = False, **more: Any) -> History:
    """A run that its pod has claimed is assigned to another pod."""
    history = _run(_running(attempts=1), _running(2, pod="q", **{"attempts": 1} | more))
    history.record.claims.append(Claimed(10.5, "u", 1, "b", "p", "v1", "claimed"))
    history.record.boots.append(Booted(1.0, "p"))
    if pod_is_told:
        meta = {"name": "p", "uid": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"}
        history.changes["pods"].append(Change(11, 10.8, "MODIFIED", {"metadata": meta}))
    return history


def _charged_after_progress() -> History:
    history = _run(_running(attempts=1, steps=3, stepsAtAttempt=1), _running(2, pod="q", attempts=2))
    dead = {"metadata": {"name": "p", "uid": "p"}, "status": {"phase": "Failed"}}
    history.changes["pods"].append(Change(11, 10.8, "MODIFIED", dead))
    return history


def _parked_for_the_same_timer() -> History:
    waits = [{"id": "sleep#1", "kind": "Timer"}]
    parked = {"phase": "Parked", "version": "v1", "epoch": 1, "waitingFor": waits}
    woken = _running(2, timersFired=["sleep#1"])
    return _run(_running(), parked, woken, {**parked, "epoch": 2})


def _claimed_by_a_stranger() -> History:
    history = _good()
    history.record.events.append(Claimed(11.0, "u", 1, "b", "q", "v1", "claimed"))
    return history


BAD = [
    ("INV-1", "a pin changed", _run(_running(), {**_running(), "version": "v2"})),
    ("INV-1", "a pin was taken away", _run(_running(), {"phase": "Pending"})),
    ("INV-2", "rows of two versions", _other_rows()),
    ("INV-3", "another pod at the same epoch", _run(_running(), _running(pod="q"))),
    ("INV-3", "an epoch fell", _run(_running(2), _running(1))),
    ("INV-3", "a commit after a newer claim", _late_commit()),
    ("INV-4", "a step was committed twice", _twice(end=None)),
    ("INV-4", "a run ended twice", _twice(end="succeeded")),
    ("INV-5", "created after the switch, pinned to the old version", _pinned_to_the_old()),
    ("INV-6", "retired while a run is open", _retired_while_open()),
    ("INV-6", "without pods while a run is awake", _dormant_while_awake()),
    ("INV-7", "an empty version keeps its pod", _never_retired()),
    ("INV-9", "a version without its fleet", _orphan()),
    ("INV-10", "two versions are active", _two_active()),
    ("INV-13", "an ended run goes on", _run(_ended(), _running(2))),
    ("INV-13", "observedGeneration fell", _run(_running(observedGeneration=2), _running(observedGeneration=1))),
    ("INV-13 of versions", "an active version is prepared again", _back_to_preparing()),
    ("INV-15", "progress at every second", _run(*(_running(steps=n) for n in range(9)))),
    ("INV-15", "assigned over and over", _run(*(_running(n, f"p{n}") for n in range(1, 60)), apart_seconds=0.1)),
    ("INV-16", "the object says otherwise than the journal", _other_outcome()),
    ("INV-16", "a step began after the end", _goes_on_after_its_end()),
    ("INV-17", "a log line shows an input", _told()),
    ("INV-17", "a status shows an input", _run(_running(message="hush"))),
    ("INV-20", "a step began twice at one epoch", _begun_twice_at_an_epoch()),
    ("busy", "a pod was deleted while it served", _busy_pod_removed()),
    ("blame", "a run was charged for a death that another shared", _charged_for_another()),
    ("charge", "a run was charged for a drain", _moved(pod_is_told=True, attempts=2)),
    ("charge", "a run was charged in spite of progress", _charged_after_progress()),
    ("claim", "a pod claimed a run that was sent to another", _claimed_by_a_stranger()),
    ("leave", "a run left a pod that was there", _moved()),
    ("timer", "a run parked for a timer that had woken it", _parked_for_the_same_timer()),
    ("ends", "a run is open at the end", _run(_running())),
    ("once", "a step began twice and nothing failed", _begun_twice()),
]


@pytest.mark.parametrize(("name", "what", "history"), BAD, ids=[f"{name} {what}" for name, what, _ in BAD])
@pytest.mark.case("INV-1", "INV-2", "INV-3", "INV-4", "INV-5", "INV-6", "INV-7", "INV-9", "INV-10", "INV-13", "INV-15")
@pytest.mark.case("INV-16", "INV-17", "INV-20", "protocol: rule 17")
def test_a_bad_history_is_flagged(name: str, what: str, history: History) -> None:
    """The checker of an invariant flags a history that breaks it."""
    assert [each for each in broken(history, name) if each.startswith(name)] != [], what


def test_a_good_history_is_not_flagged() -> None:
    """No checker complains about a run that was assigned, ended and recorded once."""
    assert broken(_good()) == []


def test_a_run_may_leave_a_pod_that_goes() -> None:
    """What its pod was told to go for is no fault of the operator's, and not charged."""
    assert broken(_moved(pod_is_told=True), "leave", "charge") == []


def test_every_checker_has_a_control() -> None:
    """A checker without a history that it flags shows nothing."""
    assert {name for name, _, _ in BAD} == set(CHECKERS)
