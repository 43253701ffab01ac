"""The kinds of object that the operator reads or writes, and where the API server serves them."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from pinfleet_operator.api.keys import API_VERSION, GROUP


@dataclass(frozen=True)
class Resource:
    """One kind, as the API server serves it."""

    group: str  # empty: the core group
    version: str
    plural: str  # as in paths
    kind: str  # as in messages
    is_namespaced: bool = True

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL's path, quoted.

        Args:
            namespace: None: over all namespaces, or a resource without one.
            name: None: the collection.
            subresource: such as ``status``.
        """
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root]
        if namespace is not None and self.is_namespaced:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name is not None:
            parts.append(quote(name, safe=""))
        if subresource is not None:
            parts.append(subresource)
        return "/".join(parts)


_VERSION: Final = API_VERSION.rpartition("/")[2]

AGENT_APPROVALS: Final = Resource(GROUP, _VERSION, "agentapprovals", "AgentApproval")
AGENT_DEPLOYMENTS: Final = Resource(GROUP, _VERSION, "agentdeployments", "AgentDeployment")
AGENT_VERSIONS: Final = Resource(GROUP, _VERSION, "agentversions", "AgentVersion")
AGENT_RUNS: Final = Resource(GROUP, _VERSION, "agentruns", "AgentRun")
PODS: Final = Resource("", "v1", "pods", "Pod")
SECRETS: Final = Resource("", "v1", "secrets", "Secret")
PVCS: Final = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", is_namespaced=False)
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")
