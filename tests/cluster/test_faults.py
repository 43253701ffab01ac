"""Components die and come back; pods live on where they would on a real node."""

import os
import signal
from pathlib import Path

import pytest

from localcluster import Cluster
from tests.cluster.conftest import MakePod
from tests.cluster.kube import Kube, container, fetch, is_ready, terminated, until

pytestmark = pytest.mark.cluster

READINESS = {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 1}


def test_restarted_kubelet_adopts(kube: Kube, make_pod: MakePod, cluster: Cluster) -> None:
    """A kubelet that was SIGKILLed and started again goes on with the same processes and addresses."""
    make_pod("serve", readinessProbe=READINESS)
    before = kube.wait_ready("pod")
    pid = kube.pid(before)
    cluster.stop_component("kubelet", signal.SIGKILL)
    assert fetch(before, "/ready")[0] == 200
    cluster.start_component("kubelet")
    make_pod("stubborn", name="later")
    kube.wait_ready("later")
    assert all(is_ready(pod) for _, pod in kube.history(before))
    fetch(before, "/set?ready=no")
    kube.wait("pod", "probed again", lambda pod: not container(pod)["ready"])
    fetch(before, "/set?ready=yes")
    after = kube.wait_ready("pod")
    assert (kube.pid(after), after["status"]["podIP"]) == (pid, before["status"]["podIP"])
    assert container(after)["containerID"] == container(before)["containerID"]
    assert container(after)["restartCount"] == 0
    kube.delete("pods/pod")
    kube.wait_gone("pod", before["metadata"]["uid"])
    assert not Path(f"/proc/{pid}/exe").exists()


def test_what_happened_while_the_kubelet_was_dead(kube: Kube, make_pod: MakePod, cluster: Cluster) -> None:
    """A process that ended unwatched is ContainerStatusUnknown; one whose pod was force-deleted is killed."""
    make_pod("stubborn", name="ended", spec={"restartPolicy": "Never"})
    make_pod("stubborn", name="removed")
    ended, removed = kube.wait_ready("ended"), kube.wait_ready("removed")
    pid = kube.pid(removed)
    cluster.stop_component("kubelet", signal.SIGKILL)
    os.kill(kube.pid(ended), signal.SIGKILL)
    kube.delete("pods/removed", grace_seconds=0)
    cluster.start_component("kubelet")
    end = terminated(kube.wait("ended", "ended", terminated))
    assert (end["exitCode"], end["reason"]) == (137, "ContainerStatusUnknown")
    until("the other is dead", lambda: not Path(f"/proc/{pid}/exe").exists())


def test_api_server_restart(kube: Kube, make_pod: MakePod, cluster: Cluster) -> None:
    """Pods live on while the API server is away, and what happened meanwhile is reported after."""
    make_pod("stubborn", spec={"restartPolicy": "Never"})
    pod = kube.wait_ready("pod")
    cluster.stop_component("kube-apiserver", signal.SIGKILL)
    os.kill(kube.pid(pod), signal.SIGKILL)
    cluster.start_component("kube-apiserver")
    assert terminated(kube.wait("pod", "ended", terminated))["exitCode"] == 137


def test_audit_log_names_users(kube: Kube, make_pod: MakePod, cluster: Cluster) -> None:
    """The audit log holds writes with user names, so that a test can tell who used which right."""
    make_pod("stubborn")
    kube.wait_ready("pod")
    text = cluster.audit_log.read_text()
    assert f'/api/v1/namespaces/{kube.namespace}/pods"' in text
    assert '"username":"system:node:node-' in text


def test_adoption_needs_nothing(kube: Kube, make_pod: MakePod, cluster: Cluster) -> None:
    """A running pod is adopted and ended properly though its Secret went away while the kubelet was dead."""
    kube.create("secrets", {"metadata": {"name": "s"}, "stringData": {"key": "x"}})
    make_pod(
        "serve",
        readinessProbe=READINESS,
        volumeMounts=[{"name": "s", "mountPath": "/s"}],
        spec={"volumes": [{"name": "s", "secret": {"secretName": "s"}}]},
    )
    pod = kube.wait_ready("pod")
    cluster.stop_component("kubelet", signal.SIGKILL)
    kube.delete("secrets/s")
    cluster.start_component("kubelet")
    fetch(pod, "/set?ready=no")
    kube.wait("pod", "probed again", lambda pod: not container(pod)["ready"])
    kube.delete("pods/pod")
    kube.wait_gone("pod", pod["metadata"]["uid"])
    assert terminated(kube.history(pod)[-2][1])["reason"] == "ContainerStatusUnknown"
