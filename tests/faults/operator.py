"""An operator of one namespace alone, as a local process that is started again whenever it ends."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

import yaml

from hack.stage import SERVICE_ACCOUNT, SYSTEM_NAMESPACE, operator_manifests
from localcluster import Cluster
from tests.faults.admin import CORE, RBAC, Admin

RESTART_SECONDS: Final = 0.1
STOP_SECONDS: Final = 15.0
QUICK: Final = {
    "PINFLEET_PARK_AFTER_SECONDS": "1",
    "PINFLEET_CANCEL_GRACE_SECONDS": "2",
    "PINFLEET_UNREACHABLE_SECONDS": "10",
    "PINFLEET_SILENT_SECONDS": "2",
    "PINFLEET_POLL_SECONDS": "3",
    "PINFLEET_CALL_SECONDS": "2",
    "PINFLEET_EMPTY_SECONDS": "3",
    "PINFLEET_REJECTED_SECONDS": "3",
}
"""Short times, so that no plan waits for long."""


class Operator:
    """Start it, kill it, stop it; it leads its namespace by a Lease in that namespace."""

    def __init__(self, folder: Path, namespace: str | None, key: Path, *, rules_off: str = "") -> None:
        """Make one that does not run.

        Args:
            folder: for its kubeconfig and log.
            namespace: that it watches; None: all, with its Lease where it is installed.
            key: the pods' HMAC key.
            rules_off: numbers of the run protocol's rules that it goes without.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "operator.log"
        self.kubeconfig = folder / "kubeconfig"
        self.starts = 0
        self.started_at = 0.0  # the last time, by the monotonic clock
        self._environment = {
            "PATH": os.environ["PATH"],
            "KUBECONFIG": str(self.kubeconfig),
            "PINFLEET_KEY_FILE": str(key),
            "PINFLEET_NAMESPACE": namespace or SYSTEM_NAMESPACE,
            "PINFLEET_IDENTITY": "operator",
            "PINFLEET_HEALTH_ADDRESS": "127.0.0.1:0",
            "PINFLEET_UNSAFE_OFF": rules_off,
            **QUICK,
        } | ({"PINFLEET_WATCH_NAMESPACE": namespace} if namespace else {})
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    def set_token(self, server: str, ca_file: Path, token: str) -> None:
        """Say where the API server is, and with which token."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": {"server": server, "certificate-authority": str(ca_file)}}],
            "users": [{"name": SERVICE_ACCOUNT, "user": {"token": token}}],
            "contexts": [{"name": "local", "context": {"cluster": "local", "user": SERVICE_ACCOUNT}}],
            "current-context": "local",
        }
        scratch = self.kubeconfig.with_suffix(".new")
        scratch.write_text(yaml.safe_dump(content))
        scratch.replace(self.kubeconfig)

    def start(self) -> None:
        """Have it run until `stop`."""
        self._keeping = asyncio.create_task(self._keep())

    async def _keep(self) -> None:
        while True:
            with self.log.open("ab") as log:
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "pinfleet_operator"),
                    env=self._environment,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self.starts, self.started_at = self.starts + 1, time.monotonic()
            await self._process.wait()
            await asyncio.sleep(RESTART_SECONDS)

    def kill(self) -> None:
        """SIGKILL, at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)

    async def stop(self) -> None:
        """End it for good."""
        if self._keeping is None:
            return
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        if process.returncode is None:
            process.kill()
            await process.wait()

    def complaints(self) -> list[str]:
        """Lines of its log that no fault excuses; a Lease that was lost ends the process, on a busy machine too."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        marks, excused = ("Traceback", '"level":"error"'), ('"part":"lease"', "errors.NotLeader")
        return [
            line[:2000]
            for line in lines
            if any(mark in line for mark in marks) and not any(each in line for each in excused)
        ]


async def token(admin: Admin) -> str:
    """A token of the operator's account, and no other right."""
    path = f"{CORE}/{SYSTEM_NAMESPACE}/serviceaccounts/{SERVICE_ACCOUNT}/token"
    made = await admin.ask("POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
    return str(made["status"]["token"])


async def allow_lease(admin: Admin, namespace: str) -> None:
    """Let the operator's account hold a Lease in this namespace, by the chart's own role."""
    for manifest in operator_manifests():
        if manifest["kind"] in {"Role", "RoleBinding"}:
            moved = manifest | {"metadata": {"name": manifest["metadata"]["name"], "namespace": namespace}}
            await admin.apply(f"{RBAC}/{namespace}/{manifest['kind'].lower()}s", moved)


def ca_of(cluster: Cluster) -> Path:
    """The authority that signed the API server's certificate, and the relay's."""
    return cluster.ca_file
