"""A node's presence: it registers, reports Ready, and renews its Lease, whatever the API server does meanwhile."""

import asyncio
import logging
import platform
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from localcluster.kubelet.api import CONFLICT, FAILURES, NOT_FOUND, STRATEGIC, Api, ApiError, Object
from localcluster.kubelet.records import now

_LEASE_SECONDS = 40
_RENEW_SECONDS = 10.0
_STATUS_SECONDS = 60.0
_RETRY_SECONDS = 0.5
# Nothing is really measured out; enough that the scheduler never says no.
_CAPACITY = {"cpu": "256", "memory": "1Ti", "ephemeral-storage": "10Ti", "pods": "5000"}
_CONDITIONS = {
    "MemoryPressure": ("False", "KubeletHasSufficientMemory"),
    "DiskPressure": ("False", "KubeletHasNoDiskPressure"),
    "PIDPressure": ("False", "KubeletHasSufficientPID"),
    "Ready": ("True", "KubeletReady"),
}

log = logging.getLogger("kubelet.node")


class Presence:
    """One node.

    Args:
        api: the node's client.
        name: the node.
        address: what it reports as its own.
        port: where it serves logs.
    """

    def __init__(self, api: Api, name: str, address: str, port: int) -> None:
        self._api = api
        self._name = name
        self._address = address
        self._port = port

    async def run(self) -> None:
        """Register, then report for ever."""
        await self._insist(self._register)
        await self._insist(self._report)
        await asyncio.gather(self._every(_RENEW_SECONDS, self._renew), self._every(_STATUS_SECONDS, self._report))

    async def _every(self, seconds: float, action: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self._insist(action)
            await asyncio.sleep(seconds)

    async def _insist(self, action: Callable[[], Awaitable[None]]) -> None:
        """Do it, again until it succeeds; a node that was deleted registers again."""
        while True:
            try:
                await action()
            except ApiError as err:
                log.warning("node %s: %s", self._name, err)
                if err.status == NOT_FOUND:
                    await self._insist(self._register)
            except FAILURES as err:
                log.warning("node %s cannot report: %r", self._name, err)
            else:
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def _register(self) -> None:
        labels = {
            "kubernetes.io/hostname": self._name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        }
        manifest = {"metadata": {"name": self._name, "labels": labels}, "status": self._status()}
        await self._create("/api/v1/nodes", manifest)

    async def _create(self, path: str, manifest: Object) -> None:
        """Create an object, unless it is there."""
        try:
            await self._api.call("POST", path, manifest)
        except ApiError as err:
            if err.status != CONFLICT:
                raise

    async def _report(self) -> None:
        path = f"/api/v1/nodes/{self._name}/status"
        await self._api.call("PATCH", path, {"status": self._status()}, content_type=STRATEGIC)

    async def _renew(self) -> None:
        """Renew the Lease, or make it."""
        spec = {
            "holderIdentity": self._name,
            "leaseDurationSeconds": _LEASE_SECONDS,
            "renewTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        }
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        merge = "application/merge-patch+json"
        try:
            await self._api.call("PATCH", f"{path}/{self._name}", {"spec": spec}, content_type=merge)
        except ApiError as err:
            if err.status != NOT_FOUND:
                raise
            await self._create(path, {"metadata": {"name": self._name}, "spec": spec})

    def _status(self) -> Object:
        """All is well."""
        at = now()
        conditions = [
            {"type": kind, "status": value, "reason": reason, "message": "", "lastHeartbeatTime": at}
            for kind, (value, reason) in _CONDITIONS.items()
        ]
        return {
            "addresses": [
                {"type": "InternalIP", "address": self._address},
                {"type": "Hostname", "address": self._name},
            ],
            "capacity": _CAPACITY,
            "allocatable": _CAPACITY,
            "conditions": conditions,
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._port}},
            "nodeInfo": {
                "architecture": platform.machine(),
                "operatingSystem": "linux",
                "kernelVersion": platform.release(),
                "osImage": "localcluster",
                "kubeletVersion": "v1.34.4-localcluster",
                "containerRuntimeVersion": "localcluster://1",
                "machineID": self._name,
                "systemUUID": self._name,
                "bootID": self._name,
                "kubeProxyVersion": "",
            },
        }
