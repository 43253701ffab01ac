"""The files of a fresh cluster: certificates and kubeconfigs for everybody, and the audit policy."""

import json

from localcluster.bootstrap import PROVISIONER
from localcluster.layout import Facts, Layout
from localcluster.pki import Authority, Leaf

_AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
- level: None
  userGroups: ["system:serviceaccounts:kube-system"]
- level: Metadata
  verbs: [get, list, watch]
  userGroups: ["system:serviceaccounts"]
- level: None
"""


def leaves(facts: Facts) -> list[Leaf]:
    """Every certificate of the cluster."""
    names = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
    nodes = [
        Leaf(name, f"system:node:{name}", "system:nodes", addresses=(facts.node_address(name),), names=(name,))
        for name in facts.node_names
    ]
    return [
        Leaf("apiserver", "kube-apiserver", "localcluster", ("127.0.0.1", facts.host, "10.96.0.1"), names),
        Leaf("apiserver-kubelet", "kube-apiserver-kubelet-client", "localcluster"),
        Leaf("admin", "admin", "system:masters"),
        Leaf("controllers", "system:kube-controller-manager", "localcluster"),
        Leaf("scheduler", "system:kube-scheduler", "localcluster"),
        Leaf("front-proxy", "front-proxy-client", "localcluster"),
        Leaf("provisioner", PROVISIONER, "localcluster"),
        Leaf("proxy", "system:kube-proxy", "localcluster"),
        *nodes,
    ]


def write_files(layout: Layout, facts: Facts) -> None:
    """Make keys, kubeconfigs and the audit policy anew."""
    authority = Authority(layout.pki)
    authority.issue_service_account_pair()
    for leaf in leaves(facts):
        authority.issue(leaf)
    for user in ("admin", "controllers", "scheduler", "proxy", *facts.node_names):
        _write_kubeconfig(layout, facts, user)
    (layout.root / "audit-policy.yaml").write_text(_AUDIT_POLICY)


def _write_kubeconfig(layout: Layout, facts: Facts, user: str) -> None:
    """A kubeconfig (JSON is YAML) readable by its owner alone."""
    pki = layout.pki
    cluster = {"server": facts.server, "certificate-authority": str(pki / "ca.crt")}
    credentials = {"client-certificate": str(pki / f"{user}.crt"), "client-key": str(pki / f"{user}.key")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "localcluster", "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "localcluster", "context": {"cluster": "localcluster", "user": user}}],
        "current-context": "localcluster",
    }
    path = layout.kubeconfig(user)
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=2) + "\n")
