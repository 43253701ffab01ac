"""Pods misbehave on request, in the template or live, and behave again when the annotation goes."""

import os
import time
from pathlib import Path

import pytest

from tests.cluster.conftest import MakePod
from tests.cluster.kube import MISBEHAVE, Kube, condition, container, fetch, is_ready, terminated, until

pytestmark = pytest.mark.cluster

READINESS = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}
PROXIED = {"localcluster.pinfleet.dev/network": "proxied"}


def test_never_ready(kube: Kube, make_pod: MakePod) -> None:
    """never-ready: the process runs and answers, but the pod is not Ready until the annotation goes."""
    make_pod("serve", annotations={MISBEHAVE: "never-ready"}, readinessProbe=READINESS)
    pod = kube.wait("pod", "started", lambda pod: container(pod).get("started"))
    until("it answers", lambda: _status_of(pod, "/ready") == 200)
    assert condition(kube.wait("pod", "running", lambda pod: pod), "Ready") == "False"
    kube.misbehave("pod", None)
    kube.wait_ready("pod")
    kube.misbehave("pod", "never-ready")
    kube.wait("pod", "not Ready", lambda pod: condition(pod, "Ready") == "False")


def _status_of(pod: dict[str, object], path: str) -> int:
    try:
        return fetch(pod, path, timeout=1)[0]
    except OSError:
        return 0


def test_exit_in_the_template(kube: Kube, make_pod: MakePod) -> None:
    """exit=CODE in the template: the container ends at once with it."""
    make_pod("serve", annotations={MISBEHAVE: "exit=7"}, spec={"restartPolicy": "Never"})
    assert terminated(kube.wait("pod", "ended", terminated))["exitCode"] == 7


def test_exit_live(kube: Kube, make_pod: MakePod) -> None:
    """exit=CODE on a live pod: its container ends with it, and again at each restart until the annotation goes."""
    make_pod("serve", readinessProbe=READINESS)
    kube.wait_ready("pod")
    kube.misbehave("pod", "exit=9")
    pod = kube.wait("pod", "restarting", lambda pod: container(pod)["restartCount"] >= 2)
    assert (container(pod)["lastState"].get("terminated") or terminated(pod))["exitCode"] == 9
    kube.misbehave("pod", None)
    kube.wait_ready("pod")


def test_vanish_and_come_back(kube: Kube, make_pod: MakePod) -> None:
    """vanish: the processes are killed and nothing is reported, not even a deletion, until the annotation goes."""
    make_pod("serve", readinessProbe=READINESS, spec={"restartPolicy": "Never"})
    before = kube.wait_ready("pod")
    pid = kube.pid(before)
    kube.misbehave("pod", "vanish")
    until("the process is dead", lambda: not Path(f"/proc/{pid}/exe").exists())
    kube.delete("pods/pod", grace_seconds=1)
    _wait_for_another_pod(kube, make_pod)
    silent = kube.wait("pod", "still there", lambda pod: pod)
    assert is_ready(silent)
    assert "running" in container(silent)["state"]
    kube.misbehave("pod", None)
    kube.wait_gone("pod", before["metadata"]["uid"])
    assert terminated(kube.history(before)[-2][1])["exitCode"] == 137


def _wait_for_another_pod(kube: Kube, make_pod: MakePod) -> None:
    """Long enough for the grace of 1 s to pass: a pod of 1.2 s comes and goes."""
    make_pod(command=["sleep", "1.2"], name="clock", spec={"restartPolicy": "Never"})
    kube.wait("clock", "ended", terminated)


def test_vanished_pod_goes_by_force(kube: Kube, make_pod: MakePod) -> None:
    """vanish: a delete with grace 0 removes the object, as it does for a lost node."""
    make_pod("stubborn")
    pod = kube.wait_ready("pod")
    kube.misbehave("pod", "vanish")
    kube.delete("pods/pod", grace_seconds=0)
    assert kube.get("pods/pod") is None
    until("its folder is gone", lambda: not (kube.cluster.layout.pods / pod["metadata"]["uid"]).exists())


def test_unreachable(kube: Kube, make_pod: MakePod) -> None:
    """unreachable: connections to the reported address hang though the pod is Ready; then they work again."""
    make_pod("serve", annotations=PROXIED, readinessProbe=READINESS, ports=[{"containerPort": 8080}])
    pod = kube.wait_ready("pod")
    assert fetch(pod, "/ready") == (200, "ok")
    kube.misbehave("pod", "unreachable")
    until("it does not answer", lambda: _status_of(pod, "/ready") == 0)
    began = time.monotonic()
    with pytest.raises(OSError, match="timed out"):
        fetch(pod, "/ready", timeout=1.5)
    assert time.monotonic() - began > 1.4
    assert is_ready(kube.get("pods/pod") or {})
    os.kill(kube.pid(pod), 0)
    kube.misbehave("pod", None)
    until("it answers", lambda: _status_of(pod, "/ready") == 200)


@pytest.mark.parametrize("how", ["never_ready", "exit=x", "unreachable", ""])
def test_unknown_misbehaviour_is_refused(kube: Kube, make_pod: MakePod, how: str) -> None:
    """A misbehaviour that is none, or that the pod is not prepared for, is refused with the list of those there are."""
    make_pod("stubborn")
    status, body = kube.call(
        "PATCH",
        "pods/pod",
        {"metadata": {"annotations": {MISBEHAVE: how}}},
        "application/merge-patch+json",
    )
    assert status == 422
    assert "never-ready, exit=CODE, vanish" in body.decode()


def test_image_not_found(kube: Kube, make_pod: MakePod) -> None:
    """image-not-found: the pod waits for its image until the annotation goes."""
    make_pod("serve", annotations={MISBEHAVE: "image-not-found"})
    kube.wait("pod", "waiting", lambda pod: "ImagePull" in str(container(pod).get("state")))
    kube.misbehave("pod", None)
    kube.wait_ready("pod")
