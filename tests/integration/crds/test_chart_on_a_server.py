"""The chart as Helm renders it, on a real server: it installs, and its accounts may do what they need and no more."""

import base64
import copy
import itertools
import json
from collections.abc import Iterator
from typing import Any, cast

import helm_python
import pytest
import yaml
from hack.render_chart import CHART, render
from tests.integration.crds.server import Json, Kubectl, apply, eventually, kubectl_input

from localcluster import Cluster
from pinfleet_operator.api import crdgen

pytestmark = pytest.mark.cluster

SYSTEM = "pinfleet-system"
VALUES: Json = {"replicas": 0, "crds": {"install": False}}  # the session's cluster serves the CRDs already
OPERATOR = f"system:serviceaccount:{SYSTEM}:pinfleet-operator"

MAY: tuple[tuple[str, str, str], ...] = (
    ("patch", "agentdeployments.pinfleet.dev", "team-a"),
    ("patch", "agentdeployments.pinfleet.dev/status", "team-a"),
    ("create", "agentversions.pinfleet.dev", "team-a"),
    ("patch", "agentruns.pinfleet.dev/status", "team-a"),
    ("delete", "agentruns.pinfleet.dev", "team-a"),
    ("patch", "agentapprovals.pinfleet.dev/status", "team-a"),
    ("delete", "agentapprovals.pinfleet.dev", "team-a"),
    ("create", "pods", "team-a"),
    ("create", "secrets", "team-a"),
    ("get", "persistentvolumeclaims", "team-a"),
    ("create", "leases.coordination.k8s.io", SYSTEM),
    ("patch", "leases.coordination.k8s.io/pinfleet-operator", SYSTEM),
)
MAY_NOT: tuple[tuple[str, str, str], ...] = (
    *((verb, "secrets", ns) for verb, ns in itertools.product(("get", "list", "watch"), ("team-a", SYSTEM))),
    ("create", "agentdeployments.pinfleet.dev", "team-a"),
    ("update", "agentdeployments.pinfleet.dev", "team-a"),
    ("patch", "agentruns.pinfleet.dev", "team-a"),
    ("create", "agentruns.pinfleet.dev", "team-a"),
    ("create", "agentapprovals.pinfleet.dev", "team-a"),
    ("patch", "agentapprovals.pinfleet.dev", "team-a"),
    ("approve", "agentruns.pinfleet.dev", "team-a"),
    ("create", "pods/exec", "team-a"),
    ("create", "pods/eviction", "team-a"),
    ("get", "pods/log", "team-a"),
    ("create", "roles.rbac.authorization.k8s.io", "team-a"),
    ("bind", "clusterroles.rbac.authorization.k8s.io", ""),
    ("impersonate", "users", ""),
    ("create", "serviceaccounts/token", SYSTEM),
    ("patch", "leases.coordination.k8s.io/other", SYSTEM),
    ("create", "leases.coordination.k8s.io", "team-a"),
    ("delete", "leases.coordination.k8s.io/pinfleet-operator", SYSTEM),
)


@pytest.fixture(scope="module")
def helm(cluster: Cluster) -> Iterator[helm_python.Config]:
    """Helm, pointed at the cluster."""
    with helm_python.Config(kubeconfig_path=cluster.kubeconfig, namespace=SYSTEM) as made:
        yield made


@pytest.fixture(scope="module")
def installed(cluster: Cluster, kubectl: Kubectl, helm: helm_python.Config) -> Iterator[Json]:
    """The chart, installed by Helm without starting the operator, in a namespace that enforces restricted pods."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply(
        cluster,
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM, "labels": labels}},
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a"}},
        ],
    )
    helm.install(CHART, "pinfleet", VALUES, namespace=SYSTEM)
    yield VALUES
    helm.uninstall("pinfleet")
    kubectl("delete", "namespace", SYSTEM, "team-a", "--wait=false")


def _can(cluster: Cluster, user: str, verb: str, resource: str, namespace: str) -> bool:
    kind, _, rest = resource.partition("/")
    named = kind == "leases.coordination.k8s.io" and rest
    arguments = ["auth", "can-i", verb, f"{kind}/{rest}" if named else kind, "--as", user]
    if rest and not named:
        arguments.append(f"--subresource={rest}")
    arguments += ["--namespace", namespace] if namespace else []
    return "yes" in kubectl_input(cluster, arguments, "", check=False).splitlines()


def test_the_operator_may_do_its_work(cluster: Cluster, installed: Json) -> None:
    """Each verb that the operator uses is granted where it uses it."""
    assert [entry for entry in MAY if not _can(cluster, OPERATOR, *entry)] == []


def test_the_operator_may_do_nothing_else(cluster: Cluster, installed: Json) -> None:
    """It reads no Secret, writes no spec, runs nothing in a pod, makes no RBAC, and touches one Lease."""
    assert [entry for entry in MAY_NOT if _can(cluster, OPERATOR, *entry)] == []


def test_an_editor_and_a_viewer(cluster: Cluster, kubectl: Kubectl, installed: Json) -> None:
    """An editor writes fleets and runs but no version and no status; a viewer reads; both in their namespace alone."""
    for role, user in (("pinfleet-editor", "eve"), ("pinfleet-viewer", "vic")):
        kubectl("create", "rolebinding", role, f"--clusterrole={role}", f"--user={user}", "-n", "team-a")
    runs, fleets, versions = (f"{plural}.pinfleet.dev" for plural in ("agentruns", "agentdeployments", "agentversions"))
    assert all(_can(cluster, "eve", "create", kind, "team-a") for kind in (runs, fleets))
    assert all(_can(cluster, "vic", "get", kind, "team-a") for kind in (runs, fleets, versions))
    refused = [("eve", "create", versions), ("eve", "patch", f"{runs}/status"), ("vic", "create", runs)]
    assert [entry for entry in refused if _can(cluster, *entry, "team-a")] == []
    assert not _can(cluster, "eve", "create", runs, "default")


def test_a_version_is_deleted_by_the_operator_alone(cluster: Cluster, kubectl: Kubectl, installed: Json) -> None:
    """Not even by an administrator: its open runs would lose their template; the message says what to do instead."""
    spec = {"fleet": "f", "fleetUID": "u", "id": "v1", "revision": 1, "template": {}, "port": 80, "runsPerPod": 1}
    version: Json = {
        "apiVersion": "pinfleet.dev/v1alpha1",
        "kind": "AgentVersion",
        "metadata": {"name": "f.v1", "namespace": "team-a"},
    }
    apply(cluster, [version | {"spec": spec | {"specHash": "sha256-1:" + "0" * 64}}])
    delete = ["delete", "agentversions.pinfleet.dev", "f.v1", "-n", "team-a"]  # the negative control has the kind, too
    answers: list[str] = []

    def is_refused() -> bool:
        answers.append(kubectl_input(cluster, [*delete, "--dry-run=server"], "", check=False))
        return "delete its AgentDeployment, or cancel its runs" in answers[-1]

    eventually(is_refused, answers)
    assert '"f.v1" deleted' in kubectl_input(cluster, [*delete, "--as", OPERATOR], "")


def test_the_operators_pod_is_restricted(cluster: Cluster, kubectl: Kubectl, installed: Json) -> None:
    """Pod Security `restricted` admits the pod as rendered; the same pod as root is refused."""
    deployment = json.loads(kubectl("get", "deployment", "pinfleet-operator", "-n", SYSTEM, "-o", "json"))
    spec = deployment["spec"]["template"]["spec"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "trial", "namespace": SYSTEM}, "spec": spec}
    dry_run = ["create", "--dry-run=server", "-f", "-"]
    assert "created (server dry run)" in kubectl_input(cluster, dry_run, yaml.safe_dump(pod))
    root = copy.deepcopy(pod)
    cast("dict[str, Any]", root["spec"]["securityContext"]).update(runAsNonRoot=False)
    assert "violates PodSecurity" in kubectl_input(cluster, dry_run, yaml.safe_dump(root), check=False)


def test_an_upgrade_keeps_the_key(kubectl: Kubectl, helm: helm_python.Config, installed: Json) -> None:
    """The operator's key is made once: another one would cut it off from the pods that run."""

    def key() -> str:
        return kubectl("get", "secret", "pinfleet-operator-key", "-n", SYSTEM, "-o", "jsonpath={.data.key}")

    first = key()
    assert len(base64.b64decode(first)) == 64
    helm.upgrade(CHART, "pinfleet", {**VALUES, "nodeLostSeconds": 400}, namespace=SYSTEM)
    assert "400" in kubectl("get", "deployment", "pinfleet-operator", "-n", SYSTEM, "-o", "yaml")
    assert first == key()


def test_a_second_release_is_refused(helm: helm_python.Config, installed: Json) -> None:
    """Two operators in one cluster would fight: the second release stops at the names that the first one has."""
    with pytest.raises(helm_python.HelmError, match="ownership"):
        helm.install(CHART, "another", VALUES, namespace="default")


def test_the_charts_crds_are_the_crds() -> None:
    """The chart brings the very CRDs of crds/, kept at uninstall, and can leave them to somebody else."""
    brought = [document for document in render() if document["kind"] == "CustomResourceDefinition"]
    for document in brought:
        assert document["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    assert brought == [crdgen.crd(resource) for resource in crdgen.RESOURCES]
    without = render(values={"crds": {"install": False}})
    assert [document for document in without if document["kind"] == "CustomResourceDefinition"] == []
