"""What the tests say to the API server: objects in and out, and waiting for a condition with a deadline."""

import http.client
import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from localcluster import Cluster
from tests.cluster import real

Object = dict[str, Any]
T = TypeVar("T")

MISBEHAVE = "localcluster.pinfleet.dev/misbehave"


def until(
    what: str, look: Callable[[], T | None], seconds: float = 20, explain: Callable[[], object] = lambda: ""
) -> T:
    """The first result that is true; fails when there is none in time, with an explanation."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what} {explain()}"
        time.sleep(0.05)
    return found


class Kube:
    """One namespace of one cluster."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self._client = cluster.admin()

    def call(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> tuple[int, bytes]:
        """Any call, by absolute path or by `kind/name` in the namespace."""
        full = path if path.startswith("/") else f"/api/v1/namespaces/{self.namespace}/{path}"
        return self._client.call(method, full, body, content_type=content_type, timeout=15)

    def get(self, path: str) -> Object | None:
        """An object, or None."""
        status, body = self.call("GET", path)
        return json.loads(body) if status == http.client.OK else None

    def create(self, kind: str, manifest: Object) -> Object:
        """Create an object of the namespace; the service account may be a moment late."""
        status, body = until(
            f"create {kind}", lambda: answer if (answer := self.call("POST", kind, manifest))[0] != 403 else None
        )
        assert status == http.client.CREATED, body
        created: Object = json.loads(body)
        return created

    def patch(self, path: str, body: Object) -> None:
        """Merge a patch."""
        status, answer = self.call("PATCH", path, body, "application/merge-patch+json")
        assert status == http.client.OK, answer

    def misbehave(self, pod: str, how: str | None) -> None:
        """Set or remove the annotation on a live pod."""
        self.patch(f"pods/{pod}", {"metadata": {"annotations": {MISBEHAVE: how}}})

    def delete(self, path: str, grace_seconds: int | None = None) -> None:
        """Ask for a deletion."""
        body = {} if grace_seconds is None else {"gracePeriodSeconds": grace_seconds}
        status, answer = self.call("DELETE", path, body)
        assert status in (http.client.OK, http.client.ACCEPTED), answer

    def wait(self, name: str, what: str, is_so: Callable[[Object], object], seconds: float = 20) -> Object:
        """The pod, as soon as something holds of it."""

        def look() -> Object | None:
            pod = self.get(f"pods/{name}")
            return pod if pod and is_so(pod) else None

        return until(what, look, seconds, lambda: (self.get(f"pods/{name}") or {}).get("status"))

    def wait_ready(self, name: str) -> Object:
        """The pod, as soon as it is Ready."""
        return self.wait(name, f"{name} is Ready", is_ready)

    def wait_gone(self, name: str, uid: str, seconds: float = 20) -> None:
        """Wait until this very pod is no more."""

        def look() -> bool:
            pod = self.get(f"pods/{name}")
            return pod is None or pod["metadata"]["uid"] != uid

        until(f"{name} is gone", look, seconds)

    def history(self, since: Object) -> list[tuple[str, Object]]:
        """All changes of a pod since a version that was seen; call it when the pod is gone."""
        meta = since["metadata"]
        only = f"fieldSelector=metadata.name%3D{meta['name']}"
        _, body = self.call("GET", f"pods?watch=1&resourceVersion={meta['resourceVersion']}&timeoutSeconds=1&{only}")
        events = [json.loads(line) for line in body.splitlines()]
        return [(event["type"], event["object"]) for event in events]

    def logs(self, pod: str, query: str = "") -> str:
        """A pod's log through the API server."""
        return self.call("GET", f"pods/{pod}/log?{query}")[1].decode()

    @property
    def is_standin(self) -> bool:
        """Whether pods are local processes."""
        return self.cluster.profile.name == "processes"

    def pid(self, pod: Object, container: str = "agent") -> int:
        """The pid of a running container: documented, or with real pods found."""
        if not self.is_standin:
            return real.pid(pod["metadata"]["uid"])
        path = self.cluster.layout.pods / pod["metadata"]["uid"] / f"{container}.pid"
        return int(path.read_text())


def is_ready(pod: Object) -> bool:
    """Whether the Ready condition is True."""
    return condition(pod, "Ready") == "True"


def condition(pod: Object, kind: str) -> str:
    """A condition's status; empty when there is none."""
    return next((item["status"] for item in pod["status"].get("conditions", []) if item["type"] == kind), "")


def container(pod: Object, index: int = 0) -> Object:
    """A container's status; empty before the kubelet reported."""
    found: Object = (pod["status"].get("containerStatuses") or [{}] * (index + 1))[index]
    return found


def terminated(pod: Object) -> Object:
    """How the first container ended; empty while it did not."""
    found: Object = container(pod).get("state", {}).get("terminated") or {}
    return found


def fetch(pod: Object, path: str, timeout: float = 3) -> tuple[int, str]:
    """A GET to the reported address of a pod.

    Raises:
        OSError: nobody answered.
    """
    connection = http.client.HTTPConnection(pod["status"]["podIP"], 8080, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
