"""A pod's status, as a value of what is known of its containers."""

from typing import Any

import pytest

from localcluster.kubelet import status
from localcluster.kubelet.records import Ended, Record

POD: dict[str, Any] = {
    "metadata": {"name": "p", "generation": 2},
    "spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]},
}


def _running(*, is_ready: bool = True) -> Record:
    return Record("id", started_at="t0", waiting=None, is_ready=is_ready, is_started=True)


def _ended(code: int) -> Record:
    return Record("id", started_at="t0", waiting=None, ended=Ended(code, "Error", "", "t0", "t1", "id"))


def _status(a: Record, b: Record, **changes: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "inits": {},
        "containers": {"a": a, "b": b},
        "address": "127.1.1.1",
        "host": "127.1.0.1",
        "is_over": False,
        "is_never_ready": False,
        "begun_at": "t0",
        "before": [],
        "now": "t9",
    }
    return status.status(POD, status.Facts(**(facts | changes)))


@pytest.mark.parametrize(
    ("a", "b", "is_over", "expected"),
    [
        (Record(), Record(), False, "Pending"),
        (_running(), Record(), False, "Pending"),
        (_running(), _running(is_ready=False), False, "Running"),
        (_running(), _ended(1), False, "Running"),
        (_ended(0), _ended(0), True, "Succeeded"),
        (_ended(0), _ended(1), True, "Failed"),
    ],
)
def test_phase(a: Record, b: Record, *, is_over: bool, expected: str) -> None:
    """Pending until every container ran once, over only when none starts again, Failed if any ended badly."""
    assert _status(a, b, is_over=is_over)["phase"] == expected


def test_ready_names_the_unready() -> None:
    """The Ready condition is True only when all containers are, and names those that are not."""
    found = {item["type"]: item for item in _status(_running(), _running(is_ready=False))["conditions"]}
    assert found["Ready"]["status"] == "False"
    assert found["Ready"]["message"] == "containers with unready status: [b]"
    assert found["Initialized"]["status"] == "True"
    whole = {item["type"]: item["status"] for item in _status(_running(), _running())["conditions"]}
    assert whole == dict.fromkeys(("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"), "True")


def test_never_ready_wins() -> None:
    """A pod that is never ready is not, whatever its probes say."""
    found = _status(_running(), _running(), is_never_ready=True)
    assert [entry["ready"] for entry in found["containerStatuses"]] == [False, False]


def test_time_of_an_unchanged_condition_is_kept() -> None:
    """The lastTransitionTime moves only when the status does."""
    before = [{"type": "Ready", "status": "True", "lastTransitionTime": "t1"}]
    kept = _status(_running(), _running(), before=before)["conditions"][2]
    moved = _status(_running(), _running(is_ready=False), before=before)["conditions"][2]
    assert (kept["lastTransitionTime"], moved["lastTransitionTime"]) == ("t1", "t9")


def test_waiting_shows_the_last_end() -> None:
    """In CrashLoopBackOff the end that led there is the last state."""
    record = _ended(3)
    record.waiting = ("CrashLoopBackOff", "back-off")
    entry = _status(record, _running())["containerStatuses"][0]
    assert entry["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    assert entry["lastState"]["terminated"]["exitCode"] == 3


def test_record_survives_a_restart(tmp_path: Any) -> None:
    """What is saved of a record is what a restarted kubelet reads."""
    record = _ended(3)
    record.save(tmp_path / "r.json")
    assert Record.load(tmp_path / "r.json") == record
    assert Record.load(tmp_path / "none.json") == Record()
