"""A client of the real API server that shows its answers as they are."""

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes import config

from localcluster import Cluster
from pinfleet_operator.api import crdgen

PLURALS = {resource.__name__: resource.crd.plural for resource in crdgen.RESOURCES}

Json = dict[str, Any]
Kubectl = Callable[..., str]


@dataclass(frozen=True)
class Answer:
    """One answer of the API server."""

    code: int
    body: Json

    @property
    def message(self) -> str:
        """Why it refused; empty when it did not."""
        return str(self.body.get("message", "")) if self.body.get("kind") == "Status" else ""


class Api:
    """Calls to one group of one API server, in one namespace."""

    def __init__(self, kubeconfig: Path, group: str, namespace: str = "default", user: str = "") -> None:
        self._client = config.new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]
        self._kubeconfig, self._namespace, self._user = kubeconfig, namespace, user
        self.group = group

    def as_user(self, user: str) -> "Api":
        """The same calls as somebody else; "": the administrator."""
        return Api(self._kubeconfig, self.group, self._namespace, user)

    def create(self, kind: str, name: str, spec: Json, **query: str) -> Answer:
        """Create an object; `query` are parameters such as dryRun."""
        body = {"apiVersion": f"{self.group}/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        return self._call("POST", self._path(kind), body, query=query)

    def get(self, kind: str, name: str) -> Answer:
        """Read an object."""
        return self._call("GET", self._path(kind, name))

    def names(self, kind: str, selector: str) -> list[str]:
        """Names of the objects that a field selector finds."""
        answer = self._call("GET", self._path(kind), query={"fieldSelector": selector})
        return [item["metadata"]["name"] for item in answer.body["items"]]

    def put(self, kind: str, name: str, body: Json, subresource: str = "") -> Answer:
        """Replace an object, or its status."""
        return self._call("PUT", self._path(kind, name, subresource), body)

    def merge(self, kind: str, name: str, patch: Json, subresource: str = "", **query: str) -> Answer:
        """Send a merge patch; a key with None is removed."""
        content = "application/merge-patch+json"
        return self._call("PATCH", self._path(kind, name, subresource), patch, content, query)

    def json_patch(self, kind: str, name: str, operations: list[Json], subresource: str = "") -> Answer:
        """Send a JSON patch."""
        content = "application/json-patch+json"
        return self._call("PATCH", self._path(kind, name, subresource), operations, content)

    def delete(self, kind: str, name: str) -> Answer:
        """Delete an object."""
        return self._call("DELETE", self._path(kind, name))

    def _impersonation(self) -> dict[str, str]:
        return {"Impersonate-User": self._user, "Impersonate-Group": "system:authenticated"} if self._user else {}

    def _path(self, kind: str, name: str = "", subresource: str = "") -> str:
        parts = [f"/apis/{self.group}/v1alpha1/namespaces/{self._namespace}", PLURALS[kind], name, subresource]
        return "/".join(part for part in parts if part)

    def _call(
        self,
        method: str,
        path: str,
        body: object = None,
        content: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> Answer:
        request = self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Content-Type": content, "Accept": "application/json", **self._impersonation()},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = self._client.call_api(*request)
        return Answer(int(answer.status), json.loads(answer.read()))


def eventually(holds: Callable[[], bool], answers: Sequence[str] = (), seconds: float = 20) -> None:
    """Wait until `holds`; a kubectl that fails meanwhile is asked again: discovery and OpenAPI follow a CRD late.

    Of `answers`, which `holds` extends, a failure shows the last.
    """
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(subprocess.CalledProcessError):
            if holds():
                return
        assert time.monotonic() < end, f"not true within {seconds} s: {holds}; last answer: {answers[-1:]}"
        time.sleep(0.05)


def kubectl_input(cluster: Cluster, arguments: list[str], text: str, *, check: bool = True) -> str:
    """Run kubectl with `text` on its standard input; what it says on both outputs."""
    command = [str(cluster.kubectl), "--kubeconfig", str(cluster.kubeconfig), *arguments]
    done = subprocess.run(command, input=text, check=False, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def apply(cluster: Cluster, documents: list[Json]) -> None:
    """Apply objects server-side; the CRDs that are served already may belong to another manager."""
    arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"]
    kubectl_input(cluster, arguments, yaml.safe_dump_all(documents))
