"""The pod as a process, over HTTP: who may call, what stays answerable, what survives."""

import json
import threading
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
