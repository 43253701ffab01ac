"""The objects that a fresh cluster needs before it is used: a default StorageClass and its provisioner's rights."""

import http.client
from typing import Any

from localcluster.apiclient import Client
from localcluster.layout import Facts

STORAGE_CLASS = "localcluster"
PROVISIONER = "localcluster:provisioner"  # the user that makes volumes
PROVISIONER_NAME = "localcluster.pinfleet.dev/folder"
MISBEHAVE = "localcluster.pinfleet.dev/misbehave"  # annotation of a pod: how it misbehaves
NETWORK = "localcluster.pinfleet.dev/network"  # annotation of a pod: `proxied` gives it a front address that can be cut
_MISBEHAVIOUR = f"""
!has(object.metadata.annotations) || !("{MISBEHAVE}" in object.metadata.annotations) ||
object.metadata.annotations["{MISBEHAVE}"] in ["never-ready", "vanish", "image-not-found"] ||
object.metadata.annotations["{MISBEHAVE}"].matches("^exit=[0-9]{{1,3}}$") ||
(object.metadata.annotations["{MISBEHAVE}"] == "unreachable" &&
 "{NETWORK}" in object.metadata.annotations && object.metadata.annotations["{NETWORK}"] == "proxied")
"""
_RBAC = "rbac.authorization.k8s.io"


def objects(*, policies: bool) -> list[tuple[str, dict[str, Any]]]:
    """Collection path and manifest of each object, with the policies of `refusals` if so told."""
    rbac = f"/apis/{_RBAC}/v1"
    name = {"name": PROVISIONER}
    rules = [
        {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": ["list", "watch", "create", "delete"]},
    ]
    subject = {"kind": "User", "name": PROVISIONER, "apiGroup": _RBAC}
    role = {"kind": "ClusterRole", "name": PROVISIONER, "apiGroup": _RBAC}
    client_group = {"kind": "User", "name": "kube-apiserver-kubelet-client", "apiGroup": _RBAC}
    kubelet_role = {"kind": "ClusterRole", "name": "system:kubelet-api-admin", "apiGroup": _RBAC}
    kubelet_binding = {"name": "localcluster:kubelet-api"}
    return [
        *(refusals() if policies else []),
        ("/apis/storage.k8s.io/v1/storageclasses", storage_class()),
        (f"{rbac}/clusterroles", {"metadata": name, "rules": rules}),
        (f"{rbac}/clusterrolebindings", {"metadata": name, "subjects": [subject], "roleRef": role}),
        (
            f"{rbac}/clusterrolebindings",
            {"metadata": kubelet_binding, "subjects": [client_group], "roleRef": kubelet_role},
        ),
    ]


def _policy(name: str, rule: dict[str, Any], expression: str, message: str) -> list[tuple[str, dict[str, Any]]]:
    """An admission policy and its binding."""
    admission = "/apis/admissionregistration.k8s.io/v1"
    spec = {
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"]} | rule]},
        "validations": [{"expression": expression, "message": message}],
    }
    binding = {"policyName": name, "validationActions": ["Deny"]}
    return [
        (f"{admission}/validatingadmissionpolicies", {"metadata": {"name": name}, "spec": spec}),
        (f"{admission}/validatingadmissionpolicybindings", {"metadata": {"name": name}, "spec": binding}),
    ]


def refusals() -> list[tuple[str, dict[str, Any]]]:
    """Policies that refuse by name what would fail in silence: exec and its like, and misbehaviours that are none."""
    verbs = ["pods/exec", "pods/attach", "pods/portforward", "pods/proxy", "services/proxy"]
    streams = _policy(
        "localcluster-streams",
        {"operations": ["CONNECT"], "resources": verbs},
        "false",
        "exec, attach, port-forward and proxy are not supported by this cluster: its pods are local processes",
    )
    misbehaviour = _policy(
        "localcluster-misbehaviour",
        {"operations": ["CREATE", "UPDATE"], "resources": ["pods"]},
        _MISBEHAVIOUR,
        f"{MISBEHAVE} is never-ready, exit=CODE, vanish, image-not-found, or unreachable if {NETWORK} is proxied",
    )
    return [*streams, *misbehaviour]


def storage_class() -> dict[str, Any]:
    """The default class: a claim is bound at once, and is the same folder for every node of the one machine."""
    return {
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER_NAME,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }


def create(client: Client, *, policies: bool) -> None:
    """Create the objects."""
    for path, manifest in objects(policies=policies):
        client.create(path, manifest)


def unready_node(client: Client, facts: Facts) -> str | None:
    """A node that is not there or not Ready, in words; None when all are."""
    for name in facts.node_names:
        node = client.get(f"/api/v1/nodes/{name}")
        if node is None:
            return f"node {name} has not registered"
        conditions = {item["type"]: item["status"] for item in node.get("status", {}).get("conditions", [])}
        if conditions.get("Ready") != "True":
            return f"node {name} is not Ready"
    return None


def missing(client: Client, facts: Facts) -> str | None:
    """What a fresh cluster still lacks to take pods, in words; None when it is ready."""
    if unready := unready_node(client, facts):
        return unready
    for name in facts.node_names:
        if ((client.get(f"/api/v1/nodes/{name}") or {}).get("spec") or {}).get("taints"):
            return f"node {name} is still tainted"
    if client.get("/api/v1/namespaces/default/serviceaccounts/default") is None:
        return "the service account default/default is not there"
    return None


def inactive_policies(client: Client) -> str | None:
    """That the policies are not active yet, in words: a pod with an unknown misbehaviour is not refused."""
    meta = {"name": "probe", "annotations": {MISBEHAVE: "unknown"}}
    pod = {"metadata": meta, "spec": {"containers": [{"name": "probe", "image": "none"}]}}
    try:
        status, _ = client.call("POST", "/api/v1/namespaces/default/pods?dryRun=All", pod)
    except OSError:
        return "nobody answers"
    return None if status == http.client.UNPROCESSABLE_ENTITY else "the policies are not active"
