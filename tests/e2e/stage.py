"""The stage of the suite: a cluster with real pods, the operator installed by Helm, and a hand on the nodes.

The hand is a privileged pod that kills processes of other pods, as a crash or the kernel would; `kubectl exec` cannot
do that to a container's first process.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python

from hack import images
from hack.render_chart import CHART
from hack.stage import SYSTEM_NAMESPACE, Json, Stage, StageError
from localcluster import Cluster

RELEASE = "pinfleet"
HAND_NAMESPACE = "node-hand"
HAND = "hand"
CANCEL_GRACE_SECONDS = 3
VALUES: Json = {
    "image": {"repository": images.OPERATOR.rpartition(":")[0], "tag": images.RELEASE},
    "cancelGraceSeconds": CANCEL_GRACE_SECONDS,
}
STAYS = "e2e-stays"  # label of what a drain leaves
AGENT_IMAGE = "registry.local/steps:v1"
_KILL = """
import os, pathlib, signal, sys
uid, killed = sys.argv[1], 0
names = (uid, uid.replace('-', '_'))  # the second: as systemd's slices are named
for process in pathlib.Path('/proc').iterdir():
    try:
        groups = (process / 'cgroup').read_text()
        words = (process / 'cmdline').read_bytes()
    except OSError:
        continue
    if any('pod' + name in groups for name in names) and b'python' in words:
        os.kill(int(process.name), signal.SIGKILL)
        killed += 1
sys.exit(0 if killed else 'no process of that pod')
"""


class RealStage(Stage):
    """A cluster whose pods are containers; the operator is one of them."""

    def __init__(self, state: Path, cluster: Cluster) -> None:
        super().__init__(state, state / "unused")
        self.cluster = cluster

    def helm(self) -> contextlib.AbstractContextManager[helm_python.Config]:
        """Helm itself, pointed at the cluster."""
        made: contextlib.AbstractContextManager[helm_python.Config] = helm_python.Config(
            kubeconfig_path=self.cluster.kubeconfig, namespace=SYSTEM_NAMESPACE
        )
        return made

    def install(self) -> None:
        """Install the chart into a namespace that enforces restricted pods; nothing to do when it is there."""
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {
                    "name": SYSTEM_NAMESPACE,
                    "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
                },
            }
        )
        if not self.exists("deployment", "pinfleet-operator", SYSTEM_NAMESPACE):
            with self.helm() as helm:
                helm.install(CHART, RELEASE, VALUES, namespace=SYSTEM_NAMESPACE)
        self.wait_operator()

    def upgrade(self) -> None:
        """Helm upgrade, which brings the CRDs back, as the page on uninstalling says."""
        with self.helm() as helm:
            helm.upgrade(CHART, RELEASE, VALUES, namespace=SYSTEM_NAMESPACE)
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")

    def uninstall(self) -> None:
        """Helm uninstall."""
        with self.helm() as helm:
            helm.uninstall(RELEASE)

    def wait_operator(self) -> None:
        """Until every replica of the operator is ready, and no other is left."""

        def is_so() -> bool:
            found = self.get("deployment", "pinfleet-operator", SYSTEM_NAMESPACE)
            status = found.get("status", {})
            return bool(status.get("readyReplicas", 0) == found["spec"]["replicas"] == status.get("replicas"))

        self.wait_for("the operator's pods to be ready", is_so, 120)

    def leader(self) -> str:
        """The operator's pod that leads; empty while none does. The holder's name begins with its pod's."""
        lease = self.get("lease", "pinfleet-operator", SYSTEM_NAMESPACE)
        holder = str(lease.get("spec", {}).get("holderIdentity") or "")
        pods = self.list("pods", SYSTEM_NAMESPACE, "-l", "app.kubernetes.io/component=operator")
        return next((name for pod in pods if holder.startswith(name := str(pod["metadata"]["name"]))), "")

    def delete_leader(self) -> str:
        """Delete the operator's pod that leads; returns its name."""
        name: str = self.wait_for("a leader", self.leader, 60)
        self.kubectl("delete", "pod", name, "-n", SYSTEM_NAMESPACE, "--wait=false")
        return name

    def operator_logs(self) -> str:
        """What the operator's pods have said, for a test that failed."""
        with contextlib.suppress(StageError):
            selector = "app.kubernetes.io/component=operator"
            return self.kubectl("logs", "-n", SYSTEM_NAMESPACE, "-l", selector, "--tail=60", "--prefix")
        return ""

    # The hand on the nodes

    def place_hand(self) -> None:
        """Start the hand; it stays through a drain."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HAND_NAMESPACE}})
        root: Json = {"privileged": True, "runAsUser": 0}
        container = {"name": "hand", "image": AGENT_IMAGE, "command": ["sleep", "infinity"], "securityContext": root}
        spec = {"hostPID": True, "tolerations": [{"operator": "Exists"}], "containers": [container]}
        spec["terminationGracePeriodSeconds"] = 0
        meta = {"name": HAND, "namespace": HAND_NAMESPACE, "labels": {STAYS: "yes"}}
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        self.kubectl("wait", "pod", HAND, "-n", HAND_NAMESPACE, "--for=condition=Ready", "--timeout=50s")

    def kill_container(self, pod_uid: str) -> None:
        """SIGKILL the agent's process in a pod, from outside of it."""
        self.kubectl("exec", "-n", HAND_NAMESPACE, HAND, "--", "python3", "-c", _KILL, pod_uid)

    def evict(self, pod: str, namespace: str) -> None:
        """Evict a pod through the Eviction API."""
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
        self.kubectl("create", "--raw", path, "-f", "-", given=json.dumps(body))

    @contextlib.contextmanager
    def drained(self, node: str) -> Iterator[None]:
        """A node that is drained for the length of a block, and takes pods again after it."""
        try:
            keep = f"--pod-selector=!{STAYS}"
            self.kubectl("drain", node, keep, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=50s")
            yield
        finally:
            self.kubectl("uncordon", node)


def reader(namespace: str) -> dict[str, Any]:
    """A pod that shows what is in a namespace's claim; it stays through a drain."""
    container = {
        "name": "reader",
        "image": AGENT_IMAGE,
        "command": ["sleep", "infinity"],
        "volumeMounts": [{"name": "state", "mountPath": "/state"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "reader", "namespace": namespace, "labels": {STAYS: "yes"}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
            "securityContext": {"fsGroup": 65532},
            "containers": [container],
            "volumes": [{"name": "state", "persistentVolumeClaim": {"claimName": "state"}}],
        },
    }
