"""Pods end in the real kubelet's order: SIGTERM, grace, SIGKILL, the last status, and only then the object."""

import time
from pathlib import Path

import pytest

from tests.cluster.conftest import IMAGE, MakePod
from tests.cluster.kube import Kube, Object, condition, terminated, until

pytestmark = pytest.mark.cluster

READINESS = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}
PATIENT = {"terminationGracePeriodSeconds": 60}  # longer than any test waits


def _last_status(kube: Kube, before: Object) -> Object:
    """The pod as it was last written before it was deleted."""
    events = kube.history(before)
    assert events[-1][0] == "DELETED"
    return events[-2][1]


def _is_dead(pid: int) -> bool:
    return not Path(f"/proc/{pid}/exe").exists()


@pytest.mark.any_kubelet
def test_sigterm_then_status_then_gone(kube: Kube, make_pod: MakePod) -> None:
    """A pod that heeds SIGTERM is reported as ended with its code before the object goes."""
    make_pod("serve", readinessProbe=READINESS)
    pod = kube.wait_ready("pod")
    kube.delete("pods/pod")
    kube.wait_gone("pod", pod["metadata"]["uid"])
    last = _last_status(kube, pod)
    assert (terminated(last)["exitCode"], last["status"]["phase"]) == (0, "Succeeded")
    assert condition(last, "Ready") == "False"


@pytest.mark.any_kubelet
def test_sigkill_after_the_grace(kube: Kube, make_pod: MakePod) -> None:
    """A pod that ignores SIGTERM lives for the deletion's grace, which is 2 s at least, and is then killed."""
    make_pod("stubborn", spec=PATIENT)
    pod = kube.wait_ready("pod")
    until("it listens", lambda: kube.logs("pod"))
    began = time.monotonic()
    kube.delete("pods/pod", grace_seconds=1)
    kube.wait_gone("pod", pod["metadata"]["uid"])
    assert time.monotonic() - began > 2
    last = _last_status(kube, pod)
    assert (terminated(last)["exitCode"], last["status"]["phase"]) == (137, "Failed")


@pytest.mark.any_kubelet
def test_a_stop_that_has_begun_is_not_cut_short(kube: Kube, make_pod: MakePod) -> None:
    """A second delete with a shorter grace changes the object; the process keeps the grace that its stop began with."""
    make_pod("stubborn", spec=PATIENT)
    pod = kube.wait_ready("pod")
    until("it listens", lambda: kube.logs("pod"))
    began = time.monotonic()
    kube.delete("pods/pod", grace_seconds=6)
    until("SIGTERM was sent", lambda: "ignored" in kube.logs("pod"))
    kube.delete("pods/pod", grace_seconds=1)
    kube.wait("pod", "of another grace", lambda pod: pod["metadata"]["deletionGracePeriodSeconds"] == 1)
    kube.wait_gone("pod", pod["metadata"]["uid"])
    assert time.monotonic() - began > 6


@pytest.mark.any_kubelet
def test_a_force_deleted_process_outlives_its_object(kube: Kube, make_pod: MakePod) -> None:
    """A delete with grace 0 removes the object first; the process has 2 s more, whatever its own grace is."""
    make_pod("stubborn", spec=PATIENT)
    pod = kube.wait_ready("pod")
    until("it listens", lambda: kube.logs("pod"))
    pid = kube.pid(pod)
    began = time.monotonic()
    kube.delete("pods/pod", grace_seconds=0)
    assert kube.get("pods/pod") is None
    until("the process is dead", lambda: _is_dead(pid))
    assert time.monotonic() - began > 1.9


def test_prestop_runs_before_sigterm(kube: Kube, make_pod: MakePod, tmp_path: Path) -> None:
    """An exec preStop hook runs to its end while the process still lives."""
    proof = tmp_path / "proof"
    hook = {"exec": {"command": ["sh", "-c", f"sleep 0.2; kill -0 $(cat $HOME/../agent.pid) && touch {proof}"]}}
    make_pod("serve", readinessProbe=READINESS, lifecycle={"preStop": hook})
    pod = kube.wait_ready("pod")
    kube.delete("pods/pod")
    kube.wait_gone("pod", pod["metadata"]["uid"])
    assert proof.exists()


@pytest.mark.any_kubelet
def test_same_name_new_pod(kube: Kube, make_pod: MakePod) -> None:
    """A pod made again under the same name has its own uid, address and process."""
    make_pod("stubborn")
    old = kube.wait_ready("pod")
    kube.delete("pods/pod", grace_seconds=0)
    make_pod("stubborn")
    new = kube.wait_ready("pod")
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    assert new["status"]["podIP"] != old["status"]["podIP"]


@pytest.mark.any_kubelet
def test_pod_that_never_started_goes(kube: Kube, make_pod: MakePod) -> None:
    """A pod that waits for its image is deleted without waiting for the grace."""
    pod = make_pod("serve", image="registry.local/nothing:v1")
    kube.wait("pod", "scheduled and seen", lambda pod: pod["status"].get("containerStatuses"))
    kube.delete("pods/pod", grace_seconds=60)
    kube.wait_gone("pod", pod["metadata"]["uid"], 5)


@pytest.mark.any_kubelet
def test_replica_set_replaces_its_pods(kube: Kube, make_pod: MakePod) -> None:
    """Real controllers work on it: a ReplicaSet makes pods and replaces one that is deleted."""
    labels = {"app": "x"}
    agent = {"name": "agent", "image": IMAGE, "command": ["python", "agent.py", "stubborn"]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [agent], "terminationGracePeriodSeconds": 0}}
    manifest = {
        "metadata": {"name": "set"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
    }
    where = f"/apis/apps/v1/namespaces/{kube.namespace}/replicasets"
    kube.create(where, manifest)

    def ready() -> int:
        return int((kube.get(f"{where}/set") or {})["status"].get("readyReplicas", 0))

    until("two are ready", lambda: ready() == 2)
    first = (kube.get("pods") or {})["items"][0]["metadata"]
    kube.delete(f"pods/{first['name']}")
    kube.wait_gone(first["name"], first["uid"])
    until("two are ready again", lambda: ready() == 2)
    kube.delete(f"{where}/set")
    until("all are gone", lambda: not (kube.get("pods") or {})["items"])
