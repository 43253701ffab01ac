"""A real Kubernetes control plane on one machine, with a kubelet that runs pods as local processes.

`python -m localcluster up|down|status|env`, or `Cluster` from Python. It shares nothing with the rest of the
project but the API server and HTTP.
"""

from localcluster.cluster import Cluster
from localcluster.errors import LocalClusterError

__all__ = ["Cluster", "LocalClusterError"]
