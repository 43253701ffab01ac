"""Pods as processes: signals, kills, two of them with one run, and a database that does not answer."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.unit.sdk.conftest import ServePod
from tests.unit.sdk.served_pod import until


@pytest.mark.parametrize("then", ["forever", "sleep"])
@pytest.mark.case("draining: SIGTERM mid-run")
def test_sigterm_drains(serve_pod: ServePod, then: str) -> None:
    """SIGTERM lists every run as drained, refuses new ones, waits for the acks, and ends well."""
    pod = serve_pod(PINFLEET_PARK_AFTER_SECONDS="9999")
    pod.offer(steps=2, then=then, hours=1)
    until(lambda: (pod.listing() or {}).get("steps") == 2, "two steps")
    pod.terminate()
    pod.until_listed("drained")
    assert pod.offer("r2").status == pod.call("GET", "/ready").status == 503
    assert pod.process.poll() is None
    pod.call("POST", "/runs/r1/ack?epoch=1")
    assert pod.wait() == 0


@pytest.mark.case("draining: SIGTERM mid-run")
def test_sigterm_inside_a_step(serve_pod: ServePod) -> None:
    """The step that is under way when the signal comes is finished and recorded; the next one is another pod's."""
    pod = serve_pod()
    pod.offer(steps=5, seconds=0.5)
    until(pod.trace, "the first step")
    pod.terminate()
    assert pod.until_listed("drained")["steps"] == 1
    second = serve_pod("pod-2")
    second.offer(epoch=2, steps=5, seconds=0.0)
    second.until_listed("succeeded")
    assert [line["n"] for line in second.trace()] == [0, 1, 2, 3, 4]


def test_sigterm_with_blocked_code(serve_pod: ServePod) -> None:
    """A process whose code does not stop goes when its grace is over, with the signal's code."""
    pod = serve_pod(PINFLEET_DRAIN_GRACE_SECONDS="0.5")
    pod.offer(then="block")
    pod.terminate()
    assert pod.wait() == 143


def test_sigterm_when_idle(serve_pod: ServePod) -> None:
    """An idle pod ends at once."""
    pod = serve_pod()
    pod.terminate()
    assert pod.wait() == 0


@pytest.mark.case("draining: SIGKILL mid-run")
def test_killed_and_resumed(serve_pod: ServePod) -> None:
    """Kill -9 between or inside steps: another process goes on after the last recorded one."""
    first, second = serve_pod("pod-1"), serve_pod("pod-2")
    first.offer(steps=20, seconds=0.05)
    until(lambda: len(first.trace()) >= 8, "some steps")
    first.kill()
    recorded = len(rows(first.folder))
    second.offer(epoch=2, steps=20, seconds=0.0)
    second.until_listed("succeeded")
    ran = [line["n"] for line in second.trace() if line["epoch"] == 2]
    assert ran == list(range(recorded, 20))


def test_parked_and_woken_elsewhere(serve_pod: ServePod) -> None:
    """A parked run wakes in another process by the timer that the offer names."""
    first, second = serve_pod("pod-1"), serve_pod("pod-2")
    first.offer(steps=1, then="sleep", hours=1)
    (wait,) = first.until_listed("parked")["waitingFor"]
    assert first.call("POST", "/runs/r1/ack?epoch=1").status == 200
    first.kill()
    second.offer(epoch=2, steps=1, then="sleep", hours=1, timersFired=[wait["id"]])
    second.until_listed("succeeded")
    assert [line["pod"] for line in second.trace()] == ["pod-1", "pod-2"]


def two_owners(serve_pod: ServePod, **environment: str) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """Give a run to a second pod while the first goes on with it; return the first's last word and the rows."""
    first, second = serve_pod("pod-1", **environment), serve_pod("pod-2", **environment)
    first.offer(steps=10, seconds=0.1)
    until(lambda: len(first.trace()) >= 2, "the first steps")
    second.offer(epoch=2, steps=10, seconds=0.0)
    second.until_listed("succeeded")
    found: list[dict[str, Any]] = []

    def is_over() -> bool:
        run = first.listing()
        if run is not None and run["state"] != "running":
            found.append(run)
        return bool(found)

    until(is_over, "the first pod's word")
    return found[0], rows(first.folder)


@pytest.mark.case("runs: two pods believe they own a run")
def test_two_pods_believe_they_own_a_run(serve_pod: ServePod) -> None:
    """INV-3, INV-4: the older owner is fenced at its next commit and commits nothing more."""
    word, found = two_owners(serve_pod)
    assert (word["state"], word["journalEpoch"]) == ("fenced", 2)
    epochs = [row[1] for row in found]
    assert (len(found), epochs) == (10, sorted(epochs))


def test_two_pods_without_the_fence(serve_pod: ServePod) -> None:
    """Negative control: without the fence the older owner goes on to the end."""
    word, _ = two_owners(serve_pod, PINFLEET_UNSAFE_OFF="fence")
    assert word["state"] == "succeeded"


@pytest.mark.case("runs: no journal at the start")
def test_not_ready_without_its_database(serve_pod: ServePod) -> None:
    """A locked database: not ready, nothing is claimed, and ready again once it answers."""
    pod = serve_pod()
    pod.offer("r0")
    pod.until_listed("succeeded", "r0")
    blocker = sqlite3.connect(pod.folder / "journal.db", isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    answer = pod.offer("r1")
    assert (answer.status, answer.body["code"]) == (503, "journal_unavailable")
    blocker.execute("ROLLBACK")
    blocker.close()
    assert pod.offer("r1").status == 202
    assert pod.call("GET", "/ready").status == 200


def rows(folder: Path) -> list[tuple[Any, ...]]:
    """Return (n, epoch) of the recorded steps."""
    db = sqlite3.connect(folder / "journal.db")
    try:
        return db.execute("SELECT n, epoch FROM step ORDER BY n").fetchall()
    finally:
        db.close()
