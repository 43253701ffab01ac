"""The bench's node and its hollow pods: the operator made them, the bench writes their status as a kubelet would."""

import json
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any, Self

from bench.admin import MERGE, STRATEGIC, Admin, Json

NODE = "hollow"
RENEW_SECONDS = 10.0
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


class HollowServer:
    """The process that answers for the pods."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.hollow"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid

    def do(self, command: str, **given: Any) -> Json:
        """One command and its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": command, **given}) + "\n")
        self._process.stdin.flush()
        answer: Json = json.loads(self._process.stdout.readline())
        return answer

    def count(self) -> int:
        """How many runs the pods hold."""
        held: int = self.do("count")["held"]
        return held

    def polls(self) -> int:
        """How many polls of the operator wait for a change."""
        waiting: int = self.do("count")["polls"]
        return waiting

    def stop(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=10)
        if self._process.stdout is not None:
            self._process.stdout.close()


class Node:
    """A node without a kubelet; it renews its Lease for as long as it is used as a context manager."""

    def __init__(self, admin: Admin, octet: int) -> None:
        self._admin, self._octet = admin, octet
        self.given: dict[str, str] = {}  # pod uid -> address
        self._stopping = threading.Event()
        self._renewer = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> Self:
        capacity = {"cpu": "256", "memory": "1Ti", "ephemeral-storage": "10Ti", "pods": "5000"}
        conditions = [{"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now()}]
        status = {"capacity": capacity, "allocatable": capacity, "conditions": conditions}
        self._admin.ask("POST", "/api/v1/nodes", {"metadata": {"name": NODE, "labels": {"bench": NODE}}})
        self._admin.ask("PATCH", f"/api/v1/nodes/{NODE}/status", {"status": status}, STRATEGIC)
        self._admin.ask("POST", LEASES, {"metadata": {"name": NODE}, "spec": self._lease()})
        self._renewer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._renewer.join()

    def _renew(self) -> None:
        while not self._stopping.wait(RENEW_SECONDS):
            self._admin.ask("PATCH", f"{LEASES}/{NODE}", {"spec": self._lease()}, MERGE)

    def _lease(self) -> Json:
        at = datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {"holderIdentity": NODE, "leaseDurationSeconds": 40, "renewTime": at}

    def run_pods(self, namespace: str, hollow: HollowServer, port: int, capacity: int) -> int:
        """Bring every pod bound to the node that has no address to Running and Ready; returns how many there are."""
        pods = self._admin.ask("GET", f"/api/v1/namespaces/{namespace}/pods?fieldSelector=spec.nodeName%3D{NODE}")
        for pod in pods["items"]:
            meta = pod["metadata"]
            if meta["uid"] in self.given:
                continue
            index = len(self.given)
            address = self.given[meta["uid"]] = f"127.{self._octet}.{250 + index // 250}.{index % 250 + 1}"
            version = meta["labels"]["pinfleet.dev/version"]
            hollow.do("serve", address=address, port=port, uid=meta["uid"], version=version, capacity=capacity)
            path = f"/api/v1/namespaces/{namespace}/pods/{meta['name']}/status"
            self._admin.ask("PATCH", path, {"status": running(address, pod)}, STRATEGIC)
        return len(self.given)


def running(address: str, pod: Json) -> Json:
    """The status of a pod that runs and is ready."""
    at, container = now(), pod["spec"]["containers"][0]
    kinds = ("Initialized", "ContainersReady", "Ready")
    return {
        "phase": "Running",
        "hostIP": address,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": at,
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": at} for kind in kinds],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": container["image"],
                "ready": True,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": at}},
            }
        ],
    }


def now() -> str:
    """The time as Kubernetes writes it."""
    return datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
