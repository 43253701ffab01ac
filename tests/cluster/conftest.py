"""The cluster of this folder's tests: one for the session, one namespace per test."""

import os
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from localcluster import Cluster, binary
from tests.cluster import real
from tests.cluster.kube import Kube

APP = Path(__file__).parent / "app"
IMAGE = "registry.local/app:v1"
MakePod = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An images.yaml that names the test program."""
    path = tmp_path_factory.mktemp("images") / "images.yaml"
    path.write_text(f"images: {{'{IMAGE}': {{folder: '{APP}'}}}}\n")
    return path


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Iterator[Cluster]:
    """A whole cluster with short back-offs; with PINFLEET_PROFILE=node one with real pods, and its own back-offs."""
    if os.environ.get("PINFLEET_PROFILE") == "node":
        with real.cluster() as found:
            yield found
        return
    if not binary.is_built():
        pytest.fail("the cluster's binary is not built: run `PYTHONPATH=hack/cluster python -m localcluster up` once")
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    made.up(images=images, backoff_seconds=1)
    yield made
    made.down()


@pytest.fixture
def kube(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Kube]:
    """A namespace of the test's own; its pods are removed at the end."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40].strip("-")
    name = f"{words}-{uuid.uuid4().hex[:6]}"
    made = Kube(cluster, name)
    status, body = made.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    assert status == 201, body
    yield made
    for pod in (made.get("pods") or {"items": []})["items"]:
        made.call("DELETE", f"pods/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})
    made.call("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def make_pod(kube: Kube) -> MakePod:
    """Creates a pod of one container named `agent` that runs the test program."""

    def make(
        *words: str,
        name: str = "pod",
        annotations: dict[str, str] | None = None,
        spec: dict[str, Any] | None = None,
        env: list[dict[str, Any]] | None = None,
        **container: Any,
    ) -> dict[str, Any]:
        own = [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
        agent = {"name": "agent", "image": IMAGE, "command": ["python", "agent.py", *words], "env": own + (env or [])}
        known = {"terminationGracePeriodSeconds": 5, "securityContext": {"runAsUser": 0}}
        manifest = {
            "metadata": {"name": name, "annotations": annotations or {}},
            "spec": known | {"containers": [agent | container]} | (spec or {}),
        }
        return kube.create("pods", manifest)

    return make
