"""The pod as a process, over HTTP: who may call, what stays answerable, what survives."""

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.unit.sdk.conftest import ServePod
from tests.unit.sdk.served_pod import Answer, body, until


def test_run_and_ack(serve_pod: ServePod) -> None:
    """An offered run is executed, listed with its result until acked, and then forgotten."""
    pod = serve_pod()
    accepted = pod.offer(steps=3)
    assert (accepted.status, set(accepted.body)) == (202, {"protocol", "version", "podUID", "boot", "n"})
    run = pod.until_listed("succeeded")
    assert (run["steps"], run["outcome"]) == (3, {"result": {"steps": 3}})
    assert pod.call("POST", "/runs/r1/ack?epoch=1").status == 200
    assert pod.call("POST", "/runs/r1/ack?epoch=1").status == 204
    assert pod.listing() is None


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Authorization": None}, 401, "unauthorized"),
        ({"Authorization": "Bearer wrong"}, 401, "unauthorized"),
        ({"Authorization": "Basic token-of-v1"}, 401, "unauthorized"),
        ({"Pinfleet_Pod": None}, 400, "bad_request"),
        ({"Pinfleet_Leader": None}, 400, "bad_request"),
        ({"Pinfleet_Leader": "-1"}, 400, "bad_request"),
    ],
)
def test_who_may_call(serve_pod: ServePod, headers: dict[str, str | None], status: int, code: str) -> None:
    """A call without a valid token, pod or leader is refused, and learns who answered."""
    pod = serve_pod()
    answer = pod.call("PUT", "/runs/r1", body(), **headers)
    assert (answer.status, answer.body["code"], answer.body["podUID"]) == (status, code, "pod-1")
    assert pod.listing() is None


def other_pods_call(serve_pod: ServePod, **environment: str) -> Answer:
    """Call the address with another pod's uid."""
    return serve_pod(**environment).call("PUT", "/runs/r1", body(), Pinfleet_Pod="pod-of-yesterday")


def test_wrong_pod(serve_pod: ServePod) -> None:
    """Rule 12: a call that means another pod at this address is refused with this pod's uid."""
    answer = other_pods_call(serve_pod)
    assert (answer.status, answer.body["code"], answer.body["value"]) == (421, "wrong_pod", "pod-1")


def test_wrong_pod_without_the_rule(serve_pod: ServePod) -> None:
    """Negative control: without rule 12 it is carried out; the process says loudly that a rule is off."""
    pod = serve_pod(PINFLEET_UNSAFE_OFF="pod-uid")
    assert pod.call("PUT", "/runs/r1", body(), Pinfleet_Pod="pod-of-yesterday").status == 202
    (warning,) = pod.events("UNSAFE: rules are off; runs can be lost or done twice")
    assert (warning["level"], warning["off"]) == ("critical", ["pod-uid"])


def test_stale_leader(serve_pod: ServePod) -> None:
    """Rule 8: a leader that slept is refused with the newer one's number; reading needs no leader."""
    pod = serve_pod()
    pod.offer()
    assert pod.call("POST", "/drain", Pinfleet_Leader="7").status == 202
    answer = pod.call("DELETE", "/runs/r1?epoch=1&reason=cancel", Pinfleet_Leader="6")
    assert (answer.status, answer.body["code"], answer.body["value"]) == (409, "stale_leader", 7)
    assert pod.call("GET", "/state", Pinfleet_Leader=None).status == 200


def test_token_rotation(serve_pod: ServePod) -> None:
    """The token file is read again when it changes; two values are valid while one is rotated."""
    pod = serve_pod()
    path = pod.folder / "token"
    path.write_text("token-of-v1\nnext-token\n")
    assert {pod.call("GET", "/state", Authorization=f"Bearer {t}").status for t in ("token-of-v1", "next-token")} == {
        200
    }
    path.write_text("next-token\n")
    assert pod.call("GET", "/state").status == 401
    path.unlink()
    assert pod.call("GET", "/state", Authorization="Bearer next-token").status == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"{",
        b"[]",
        b'{"name": "x"}',
        json.dumps(body() | {"epoch": "1"}).encode(),
        json.dumps(body() | {"epoch": 0}).encode(),
        json.dumps(body() | {"deadline": "2026-01-01T00:00:00"}).encode(),
        json.dumps(body() | {"end": "whatever"}).encode(),
        b"[" * 100_000,
        b'\xff\xfe{"name"',
    ],
)
@pytest.mark.case("runs: an input that is no JSON")
def test_bad_offers(inert_pod: Any, sent: bytes) -> None:
    """An offer that does not fit is refused, and takes no slot."""
    answer = inert_pod.call("PUT", "/runs/r1", sent)
    assert (answer.status, answer.body["code"]) == (400, "bad_request")
    assert inert_pod.listing() is None


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/state?after=x", 400),
        ("GET", "/state?wait=x", 400),
        ("GET", "/state?after=" + "1" * 5000, 400),
        ("POST", "/runs/r1/ack", 400),
        ("DELETE", "/runs/r1?epoch=1&reason=because", 400),
        ("DELETE", "/runs/r1?epoch=1&reason=attempts", 400),
        ("DELETE", "/runs/r1?epoch=1&reason=cancel", 404),
        ("GET", "/nothing", 404),
        ("PATCH", "/runs/r1", 405),
    ],
)
@pytest.mark.case("protocol: every call, as the page says it")
def test_bad_calls(inert_pod: Any, method: str, path: str, status: int) -> None:
    """A call that does not fit is refused by name, always in the same form."""
    answer = inert_pod.call(method, path)
    assert answer.status == status
    assert {"code", "message", "podUID", "boot"} <= set(answer.body)


def test_too_large(inert_pod: Any) -> None:
    """A body over the limit is refused without being read into a run."""
    assert inert_pod.call("PUT", "/runs/r1", body(text="x" * 1_100_000)).status == 413


@pytest.mark.case("INV-17")
def test_inputs_are_not_logged(serve_pod: ServePod) -> None:
    """No input reaches the log, whatever becomes of its run."""
    pod = serve_pod()
    pod.offer("r1", marker="s3cr3t")
    pod.until_listed("succeeded")
    pod.call("PUT", "/runs/r2", json.dumps(body(marker="s3cr3t") | {"epoch": "s3cr3t"}).encode())
    pod.offer("r3", steps="s3cr3t")
    pod.until_listed("failed", "r3")
    assert "s3cr3t" not in pod.log_path.read_text()


def test_several_pollers(serve_pod: ServePod) -> None:
    """Long polls of several readers are all answered by one change."""
    pod = serve_pod()
    first = pod.call("GET", "/state?after=0").body
    pod.offer("r0")
    n, boot = pod.call("GET", "/state?after=0").body["n"], first["boot"]
    pod.until_listed("succeeded", "r0")
    n = pod.call("GET", "/state?after=0").body["n"]
    heard: list[dict[str, Any]] = []
    threads = [
        threading.Thread(target=lambda: heard.append(pod.call("GET", f"/state?after={n}&boot={boot}&wait=25").body))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    pod.offer("r1", then="forever")
    for thread in threads:
        thread.join()
    assert [[run["uid"] for run in state["runs"]] for state in heard] == [["r1"]] * 5


@pytest.mark.case("runs: an offer is duplicated")
def test_duplicated_offers(serve_pod: ServePod) -> None:
    """The same offer many times at once is one execution."""
    pod = serve_pod()
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(pod.offer(steps=3).status)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pod.until_listed("succeeded")
    assert (statuses, len(pod.trace())) == ([202] * 8, 3)


def test_blocked_loop(serve_pod: ServePod) -> None:
    """Author code that blocks its loop hides nothing: state, probes, and the end that the pod commits itself."""
    pod = serve_pod()
    pod.offer(then="block")
    assert pod.call("GET", "/ping").status == pod.call("GET", "/ready").status == 200
    assert pod.call("DELETE", "/runs/r1?epoch=1&reason=cancel").status == 202
    pod.until_listed("cancelled")
    assert pod.call("POST", "/runs/r1/ack?epoch=1").status == 200
    assert pod.call("GET", "/state?after=0").body["capacity"] == 3
    pod.go()
    until(lambda: pod.call("GET", "/state?after=0").body["capacity"] == 4, "the slot to be free")


def test_blocked_thread(serve_pod: ServePod) -> None:
    """A sync step that does not return holds up neither the pod nor the other runs."""
    pod = serve_pod()
    pod.offer("r1", then="hang")
    until(pod.trace, "the step to begin")
    pod.offer("r2", steps=2)
    pod.until_listed("succeeded", "r2")
    pod.call("DELETE", "/runs/r1?epoch=1&reason=deadline")
    assert pod.until_listed("limit", "r1")["outcome"] == {"limit": "deadline"}
    pod.go()


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
