"""One fleet's passes on an API server in memory, in virtual time: the test moves the world, the pass answers."""

import asyncio
import json
import random
from collections.abc import Callable
from datetime import datetime
from typing import Any

from pinfleet_operator.api.child import decode_pod, decode_version
from pinfleet_operator.api.mirror import PodMirror
from pinfleet_operator.api.run import decode_run
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.errors import Rejected, Unavailable
from pinfleet_operator.kube.resources import Resource
from pinfleet_operator.reconcile import Reconciler
from pinfleet_operator.store import Store
from tests.sim.api import Client, encoded
from tests.sim.net import Net
from tests.sim.server import Json, Server, stamp

NAMESPACE, FLEET = "prod", "support"
KEY = (NAMESPACE, FLEET)
MOST_PASSES = 60


class Refusing(Client):
    """A client whose creations and patches may be refused by the test."""

    def __init__(self, server: Server) -> None:
        super().__init__(server, Net(random.Random(0), Unavailable, delay_seconds=0))
        self.refuse: Callable[[str, str], Exception | None] = lambda _verb, _plural: None
        self.lose_reply_of: Callable[[str, str], Exception | None] = lambda _verb, _plural: None
        self.log: list[str] = []

    async def create(self, resource: Resource, namespace: str | None, body: bytes, *, dry_run: bool = False) -> bytes:
        """Create, unless the test refuses."""
        self._ask("dry-run" if dry_run else "create", resource.plural)
        return await super().create(resource, namespace, body, dry_run=dry_run)

    async def merge_patch(
        self, resource: Resource, namespace: str | None, name: str, body: bytes, *, subresource: str | None = None
    ) -> bytes:
        """Patch, unless the test refuses."""
        plural = f"{resource.plural}/{subresource}" if subresource else resource.plural
        self._ask("patch", plural)
        if plural == "secrets":
            self._refuse_other_type(name, namespace or "", json.loads(body))
        answer = await super().merge_patch(resource, namespace, name, body, subresource=subresource)
        lost = self.lose_reply_of("patch", plural)
        if lost is not None:
            raise lost
        return answer

    async def delete(self, resource: Resource, namespace: str | None, name: str, **given: Any) -> None:
        """Delete, unless the test refuses."""
        self._ask("delete", resource.plural)
        await super().delete(resource, namespace, name, **given)

    def _refuse_other_type(self, name: str, namespace: str, body: Json) -> None:
        """The API server lets no Secret's type change; without one it is Opaque. Its words are not passed on."""
        kind = self.server.read("secrets", namespace, name).get("type", "Opaque")
        if body.get("type", kind) != kind:
            raise Rejected(f"cannot patch Secret {namespace}/{name}: Invalid (422)")

    def _ask(self, verb: str, plural: str) -> None:
        refusal = self.refuse(verb, plural)
        if refusal is not None:
            raise refusal
        if verb != "dry-run":
            self.log.append(f"{verb} {plural}")


class Bench:
    """A fleet, its API server, and the operator's side of it."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.server = Server()
        self.server.objects[("namespaces", "", NAMESPACE)] = {"metadata": {"name": NAMESPACE}}
        self.kube = Refusing(self.server)
        self.settings = settings or Settings()
        self._delivered = 0
        self.restart()

    def restart(self, *, key: str = "token-of") -> None:
        """A new operator process.

        Args:
            key: stands for the operator's key, from which the tokens are made.
        """
        self.store = Store()
        self._delivered = 0
        self.deliver()
        at = str(self.server.resource_version)
        self.store.pods.replace([decode_pod(encoded(o)) for o in self.server.all("pods")], at)
        self.store.versions.replace([decode_version(encoded(o)) for o in self.server.all("agentversions")], at)
        self.store.approvals.replace([], at)
        self.store.runs.replace([decode_run(encoded(o)) for o in self.server.all("agentruns")], at)
        self._delivered = self.server.resource_version
        self.reconciler = Reconciler(
            store=self.store, kube=self.kube, settings=self.settings, token_of=lambda uid: f"{key}-{uid}"
        )

    def now(self) -> datetime:
        """The API server's clock."""
        return self.server.now()

    def deliver(self) -> None:
        """Let the store hear everything that happened."""
        sinks: dict[str, tuple[Any, Any]] = {
            "pods": (self.store.pods, decode_pod),
            "agentversions": (self.store.versions, decode_version),
            "agentruns": (self.store.runs, decode_run),
        }
        news = [change for change in self.server.history if change[0] > self._delivered]
        for rv, plural, verb, item in news:
            self._delivered = rv
            if plural in sinks:
                sink, decode = sinks[plural]
                (sink.remove if verb == "DELETED" else sink.upsert)(decode(encoded(item)), str(rv))

    # What people do

    def apply(self, **spec: Any) -> None:
        """Create the fleet, or change its spec whole."""
        wanted = {"template": template("v1"), "replicas": 1, **spec}
        if ("agentdeployments", NAMESPACE, FLEET) in self.server.objects:
            old = self.server.read("agentdeployments", NAMESPACE, FLEET)
            wanted = dict.fromkeys(old["spec"]) | wanted
            self.server.patch("agentdeployments", NAMESPACE, FLEET, {"spec": wanted}, None)
        else:
            self.server.create("agentdeployments", NAMESPACE, {"metadata": {"name": FLEET}, "spec": wanted})

    def delete_fleet(self) -> None:
        """Delete the fleet's object."""
        self.server.delete("agentdeployments", NAMESPACE, FLEET, None, None)

    def run(self, name: str, version: str | None, phase: str = "Running", pod: str | None = None) -> None:
        """Create a run, or move it."""
        if ("agentruns", NAMESPACE, name) not in self.server.objects:
            spec = {"task": {"agentDeployment": FLEET, "input": 1}}
            self.server.create("agentruns", NAMESPACE, {"metadata": {"name": name}, "spec": spec})
        status: Json = {"phase": phase, "version": version}
        if pod is not None:
            uid = self.server.read("pods", NAMESPACE, pod)["metadata"]["uid"]
            status |= {"pod": pod, "podUID": uid, "epoch": 1}
        self.server.patch("agentruns", NAMESPACE, name, {"status": status}, "status")
        self.deliver()

    # What the cluster does

    def kubelet(self) -> None:
        """Start every pod, and end those that are being deleted."""
        self.deliver()
        for pod in self.server.all("pods"):
            meta = pod["metadata"]
            if "deletionTimestamp" in meta:
                self.server.remove("pods", NAMESPACE, meta["name"])
            elif pod["status"]["phase"] == "Pending":
                self.set_pod(meta["name"], ready=True)
        self.deliver()

    def set_pod(self, name: str, *, ready: bool = False, phase: str = "Running") -> None:
        """Let a kubelet report a pod; a ready one answers the operator."""
        condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": stamp(self.now())}
        status = {"phase": phase, "podIP": "10.0.0.1", "conditions": [condition]}
        self.server.patch("pods", NAMESPACE, name, {"status": status, "spec": {"nodeName": "n1"}}, None)
        self.deliver()
        pod = decode_pod(encoded(self.server.read("pods", NAMESPACE, name)))
        if ready and self.store.mirror(pod.uid) is None:
            self.store.set_mirror(
                PodMirror(
                    pod_uid=pod.uid, version=pod.version, boot="b", n=1, capacity=10, answered_at=self.now(), runs={}
                )
            )

    # The operator's passes

    async def once(self) -> float | None:
        """One pass, and the world's echo of it."""
        self.deliver()
        again = await self.reconciler.once(KEY)
        self.deliver()
        return again

    async def settle(self, *, kubelet: bool = True) -> None:
        """Passes until the operator wants none before a few seconds are over, and nothing changes."""
        for _ in range(MOST_PASSES):
            before = self.server.resource_version
            again = await self.once()
            if kubelet:
                self.kubelet()
            if again is not None and again <= 2.0:
                await asyncio.sleep(again)
            elif self.server.resource_version == before:
                return
        raise AssertionError(f"not settled after {MOST_PASSES} passes: {self.kube.log[-20:]}")

    # What can be seen

    def status(self) -> Json:
        """The fleet's status."""
        return dict(self.server.read("agentdeployments", NAMESPACE, FLEET).get("status", {}))

    def versions(self) -> dict[str, str]:
        """Phase of every version in the status."""
        return {each["name"]: each["phase"] for each in self.status()["versions"]}

    def condition(self, kind: str) -> Json | None:
        """One of the fleet's conditions."""
        return next((each for each in self.status().get("conditions", ()) if each["type"] == kind), None)

    def names(self, plural: str) -> list[str]:
        """Names of every object of a kind."""
        return [item["metadata"]["name"] for item in self.server.all(plural)]


def template(image: str) -> Json:
    """A pod template."""
    return {"spec": {"containers": [{"name": "agent", "image": f"registry.local/support:{image}"}]}}
