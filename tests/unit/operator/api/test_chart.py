"""The chart as Helm renders it: its RBAC is minimal, its pod is restricted, and its values are checked."""

from typing import Any

import helm_python
import pytest

from hack.render_chart import CHART, render
from pinfleet_operator.api import crdgen, keys

Json = dict[str, Any]

DANGEROUS_VERBS = {"escalate", "bind", "impersonate", "deletecollection"}
DANGEROUS_RESOURCES = {"pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers", "nodes/proxy"}
RBAC_KINDS = {"Role", "ClusterRole"}


def _troubles(rule: Json) -> list[str]:
    """What is too much in one RBAC rule."""
    resources, verbs = set(rule.get("resources", [])), set(rule["verbs"])
    found = []
    if any("*" in entry for part in ("apiGroups", "resources", "verbs") for entry in rule.get(part, [])):
        found.append("a wildcard")
    if verbs & DANGEROUS_VERBS:
        found.append("a verb that raises one's own rights")
    if "secrets" in resources and verbs & {"get", "list", "watch"}:
        found.append("reads Secrets")
    if resources & DANGEROUS_RESOURCES or any(group == "rbac.authorization.k8s.io" for group in rule["apiGroups"]):
        found.append("a way into pods or RBAC")
    return found


def _of_kind(*kinds: str) -> list[Json]:
    return [document for document in render() if document["kind"] in kinds]


def test_no_role_grants_too_much() -> None:
    """No wildcard, no way to raise rights, no reading of Secrets, no way into a pod, in any role of the chart."""
    found = {role["metadata"]["name"]: [_troubles(rule) for rule in role["rules"]] for role in _of_kind(*RBAC_KINDS)}
    users = {"pinfleet-editor", "pinfleet-viewer", "pinfleet-approver"}
    assert set(found) == {"pinfleet-operator", "pinfleet-operator-lease"} | users
    assert {name for name, troubles in found.items() if any(troubles)} == set()


@pytest.mark.parametrize(
    "change",
    [
        {"verbs": ["*"]},
        {"verbs": ["bind"]},
        {"resources": ["secrets"]},
        {"resources": ["pods/exec"]},
        {"apiGroups": ["*"]},
    ],
    ids=str,
)
def test_a_role_that_grants_too_much_is_found(change: Json) -> None:
    """The checker flags each kind of excess."""
    assert _troubles({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}) == []
    assert len(_troubles({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"], **change})) == 1


def test_the_operator_never_writes_a_spec() -> None:
    """On its own resources it has update nowhere, patch on runs' status alone, and the finalizer's patch on fleets."""
    role = next(role for role in _of_kind("ClusterRole") if role["metadata"]["name"] == "pinfleet-operator")
    ours = [rule for rule in role["rules"] if rule["apiGroups"] == [keys.GROUP]]
    granted = {(resource, verb) for rule in ours for resource in rule["resources"] for verb in rule["verbs"]}
    assert {verb for _, verb in granted} <= {"get", "list", "watch", "create", "patch", "delete"}
    assert ("agentruns", "patch") not in granted
    assert {resource.partition("/")[0] for resource, _ in granted} == {r.crd.plural for r in crdgen.RESOURCES}


def test_user_roles_are_not_aggregated() -> None:
    """Nobody gets to write fleets by having `edit`: that is as strong as creating pods."""
    labels = [role["metadata"]["labels"] for role in _of_kind(*RBAC_KINDS)]
    assert [label for each in labels for label in each if "aggregate" in label] == []


def test_the_operators_pod_is_locked_down() -> None:
    """Not root, no privileges, a read-only root, bounded memory, and probes."""
    pod = _of_kind("Deployment")[0]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"livenessProbe", "readinessProbe"} <= set(container)
    assert "memory" in container["resources"]["limits"]


def test_everything_is_in_the_releases_namespace() -> None:
    """Another namespace is taken everywhere, in bindings too; no name of one is written down."""
    objects = render(namespace="ops")
    placed = {item["metadata"].get("namespace", "ops") for item in objects}
    placed |= {subject["namespace"] for item in objects for subject in item.get("subjects", [])}
    assert placed == {"ops"}


def test_a_key_of_ones_own_is_used() -> None:
    """With an existing Secret the chart makes none and mounts that one."""
    objects = render(values={"key": {"existingSecret": "my-key"}})
    assert [item for item in objects if item["kind"] == "Secret"] == []
    deployment = next(item for item in objects if item["kind"] == "Deployment")
    assert deployment["spec"]["template"]["spec"]["volumes"][0]["secret"]["secretName"] == "my-key"


@pytest.mark.parametrize("values", [{"replica": 1}, {"replicas": "2"}, {"image": {"pullPolicy": "Sometimes"}}])
def test_a_wrong_value_is_refused(values: Json) -> None:
    """A misspelt or impossible value stops the installation instead of being ignored."""
    with pytest.raises(helm_python.HelmError):
        render(values=values)


def test_helm_finds_nothing_to_mend() -> None:
    """Helm's own lint has no warning; that a chart may have an icon is known."""
    report = helm_python.lint(CHART, strict=True)
    assert [message for message in report["messages"] if message["error"] != "icon is recommended"] == []
