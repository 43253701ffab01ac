"""A fleet whose pods one process answers for: a thousand open runs without a thousand executions."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

from bench.admin import Admin
from bench.pods import NODE, HollowServer, Node
from bench.world import run_manifest
from hack.stage import Json, Stage

NAME, PORT, PODS, SLOTS, MAKERS = "hollow", 8080, 10, 120, 6


class HollowFleet:
    """The fleet, its node, and the process that answers."""

    def __init__(self, stage: Stage, namespace: str, admin: Admin, server: HollowServer, node: Node) -> None:
        self.server = server
        self._stage, self._namespace, self._admin, self._node = stage, namespace, admin, node
        self._runs = f"/apis/pinfleet.dev/v1alpha1/namespaces/{namespace}/agentruns"

    def deploy(self) -> None:
        """Until its pods answer."""
        container = {"name": "agent", "image": "registry.local/hollow:v1"}
        template = {"spec": {"nodeSelector": {"bench": NODE}, "containers": [container]}}
        spec = {"version": "v1", "replicas": PODS, "maxReplicas": PODS, "runsPerPod": SLOTS, "port": PORT}
        kind = {"apiVersion": "pinfleet.dev/v1alpha1", "kind": "AgentDeployment", "metadata": {"name": NAME}}
        self._stage.apply({**kind, "spec": spec | {"template": template}}, self._namespace)
        self._stage.wait_for("the hollow pods to be active", self._is_active, 90)

    def _is_active(self) -> bool:
        self._node.run_pods(self._namespace, self.server, PORT, SLOTS)
        status = self._stage.get("agentdeployment", NAME, self._namespace).get("status", {})
        ready = [version["ready"] for version in status.get("versions", []) if version["phase"] == "Active"]
        return ready == [PODS]

    def start(self, n: int) -> None:
        """So many runs, until pods hold them all."""
        numbers = itertools.count()

        def make(share: int) -> None:
            with closing(Admin(self._stage.cluster)) as admin:
                for _ in range(share):
                    admin.ask("POST", self._runs, run_manifest(f"{NAME}-{next(numbers):04d}", NAME))

        with ThreadPoolExecutor(MAKERS) as pool:
            list(pool.map(make, [n // MAKERS] * (MAKERS - 1) + [n - n // MAKERS * (MAKERS - 1)]))
        self._stage.wait_for(f"{n} runs to be held", lambda: self.server.count() == n, 120)

    def runs(self) -> list[Json]:
        """Every run."""
        items: list[Json] = self._admin.ask("GET", self._runs)["items"]
        return [run for run in items if run["spec"]["task"]["agentDeployment"] == NAME]

    def remove(self) -> None:
        """Every run of the namespace at once, and the node."""
        self._admin.ask("DELETE", self._runs)
        self._admin.ask("DELETE", f"/api/v1/nodes/{NODE}")


@contextmanager
def hollow_fleet_on(stage: Stage, namespace: str) -> Iterator[HollowFleet]:
    """A node for the length of a block; pods of others must be bound before it begins."""
    server = HollowServer()
    try:
        with closing(Admin(stage.cluster)) as admin, Node(admin, stage.cluster.facts.octet) as node:
            fleet = HollowFleet(stage, namespace, admin, server, node)
            try:
                yield fleet
            finally:
                fleet.remove()
    finally:
        server.stop()
