"""What the tests of the CRDs share: the CRDs as they are shipped, and a second time without a single CEL rule.

The second one is group ``control.pinfleet.dev``, the negative control: what a rule refuses must be accepted there, or
the refusal would not be the rule's doing.
"""

import copy
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.integration.crds.server import Api, Json, Kubectl

from localcluster import Cluster
from pinfleet_operator.api import crdgen, keys

CONTROL_GROUP = "control.pinfleet.dev"
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of these tests' own: another group with the same kinds, and Helm's own release, disturb the stage."""
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        made.up()
        kubectl = [str(made.kubectl), "--kubeconfig", str(made.kubeconfig)]
        subprocess.run([*kubectl, "apply", "--server-side", "-f", str(ROOT / "crds")], check=True)
        subprocess.run([*kubectl, "wait", "--for=condition=Established", "--all", "crd", "--timeout=30s"], check=True)
        yield made
    finally:
        made.down()


@pytest.fixture(scope="session")
def kubectl(cluster: Cluster) -> Kubectl:
    """Run kubectl as the administrator; its output."""

    def run(*arguments: str) -> str:
        command = [str(cluster.kubectl), "--kubeconfig", str(cluster.kubeconfig), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    return run


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Api:
    """The CRDs as they are shipped."""
    return Api(cluster.kubeconfig, keys.GROUP)


@pytest.fixture(scope="session")
def control(cluster: Cluster, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The same CRDs without their rules."""
    file = tmp_path_factory.mktemp("control") / "crds.yaml"
    file.write_text(yaml.safe_dump_all(_without_rules(crdgen.crd(resource)) for resource in crdgen.RESOURCES))
    kubectl("apply", "--server-side", "-f", str(file))
    kubectl("wait", "--for=condition=Established", "-f", str(file), "--timeout=30s")
    yield Api(cluster.kubeconfig, CONTROL_GROUP)
    kubectl("delete", "-f", str(file))


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"t-{uuid.uuid4().hex[:12]}"


def _without_rules(crd: Json) -> Json:
    control = copy.deepcopy(crd)
    control["spec"]["group"] = CONTROL_GROUP
    # A short name and a category belong to one group; kubectl would look there, too.
    control["spec"]["names"] = {key: name for key, name in control["spec"]["names"].items() if isinstance(name, str)}
    control["metadata"]["name"] = f"{control['spec']['names']['plural']}.{CONTROL_GROUP}"
    _strip(control)
    return control


def _strip(node: object) -> None:
    if isinstance(node, dict):
        node.pop("x-kubernetes-validations", None)
        for value in node.values():
            _strip(value)
    if isinstance(node, list):
        for value in node:
            _strip(value)
