"""A stage: a local cluster with pinfleet's CRDs and RBAC, and an operator process under its own service account.

`make demo` and the integration tests stand on it. It talks to the cluster with kubectl alone, as a user would.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from hack.render_chart import render
from localcluster import Cluster, processes

ROOT = Path(__file__).resolve().parent.parent
SYSTEM_NAMESPACE = "pinfleet-system"
SERVICE_ACCOUNT = "pinfleet-operator"
POLL_SECONDS = 0.02

Json = dict[str, Any]


class StageError(Exception):
    """The stage could not be set up, or what was waited for did not come."""


class OperatorProcess:
    """One operator, as a local process with the service account's token."""

    def __init__(self, stage: "Stage", name: str, module: str, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = stage.state / f"{name}.log"
        self.health = stage.free_port()
        settings = {
            "PATH": os.environ["PATH"],
            "KUBECONFIG": str(stage.service_account_kubeconfig()),
            "PINFLEET_KEY_FILE": str(stage.key_file()),
            "PINFLEET_NAMESPACE": SYSTEM_NAMESPACE,
            "PINFLEET_IDENTITY": name,
            "PINFLEET_HEALTH_ADDRESS": f"127.0.0.1:{self.health}",
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module],
                env=settings | dict(environment),
                cwd=stage.state,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if (identity := processes.identify(self._process.pid)) is not None:
            processes.write_identity(stage.state / f"{name}.process", identity)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended; None: it runs."""
        return self._process.poll()

    def signal(self, number: int) -> None:
        """Send a signal to this process alone."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self._process.wait(timeout=10)

    def stop(self) -> int:
        """SIGTERM, and wait for its exit code."""
        self.signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL


class Stage:
    """The cluster and what is installed on it."""

    def __init__(self, state: Path, images: Path, tell: Callable[[str], None] = lambda _: None) -> None:
        self.state, self.images, self.tell = state.absolute(), images.absolute(), tell
        self.cluster = Cluster(self.state / "cluster", tell)
        self._operators: list[OperatorProcess] = []

    def up(self) -> None:
        """Bring up the cluster and install CRDs, RBAC and the key."""
        self.state.mkdir(parents=True, exist_ok=True)
        self.cluster.up(images=self.images, nodes=2)
        self.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        if not self.exists("namespace", SYSTEM_NAMESPACE):
            self.kubectl("create", "namespace", SYSTEM_NAMESPACE)
        for manifest in operator_manifests():
            self.apply(manifest)
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")

    def down(self) -> None:
        """End every operator of ours, then the cluster."""
        for operator in self._operators:
            operator.stop()
        for recorded in self.state.glob("*.process"):
            if (identity := processes.read_identity(recorded)) is not None:
                processes.end(identity, grace_seconds=10)
            recorded.unlink()
        self.cluster.down()

    # kubectl

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """Run the real kubectl; returns what it printed.

        Raises:
            StageError: it failed; the message is kubectl's own.
        """
        command = [
            str(self.cluster.kubectl),
            *("--kubeconfig", str(self.cluster.kubeconfig)),
            *("--cache-dir", str(self.state / "kubectl")),  # discovery of another cluster at this port is not ours
            *arguments,
        ]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            raise StageError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def exists(self, kind: str, name: str, namespace: str | None = None) -> bool:
        """Whether the object is there."""
        where = ["-n", namespace] if namespace else []
        return self.kubectl("get", kind, name, *where, "--ignore-not-found", "-o", "name").strip() != ""

    def get(self, kind: str, name: str, namespace: str = "default") -> Json:
        """One object; empty if it is not there."""
        found = self.kubectl("get", kind, name, "-n", namespace, "--ignore-not-found", "-o", "json")
        return json.loads(found) if found.strip() else {}

    def list(self, kind: str, namespace: str = "default", *selectors: str) -> list[Json]:
        """Every object of a kind in a namespace."""
        items: list[Json] = json.loads(self.kubectl("get", kind, "-n", namespace, "-o", "json", *selectors))["items"]
        return items

    def apply(self, manifest: Json | Path, namespace: str | None = None) -> None:
        """Kubectl apply."""
        where = ["-n", namespace] if namespace else []
        if isinstance(manifest, Path):
            self.kubectl("apply", *where, "-f", str(manifest))
        else:
            self.kubectl("apply", *where, "-f", "-", given=json.dumps(manifest))

    def wait_for(self, what: str, is_so: Callable[[], Any], seconds: float = 30) -> Any:
        """Ask until the answer is true; returns it.

        Raises:
            StageError: it did not become true in time; names `what`, and the operators that have ended.
        """
        until = time.monotonic() + seconds
        while True:
            if answer := is_so():
                return answer
            if time.monotonic() > until:
                ended = [f"{o.name} ended with {o.exit_code}, see {o.log}" for o in self._operators if o.exit_code]
                raise StageError("; ".join([f"waited {seconds:.0f} s in vain for {what}", *ended]))
            time.sleep(POLL_SECONDS)

    # The operator

    def start_operator(
        self, name: str = "operator", *, module: str = "pinfleet_operator", **environment: str
    ) -> OperatorProcess:
        """Start an operator; `environment` adds to its variables, `module` is one that stands in for it."""
        operator = OperatorProcess(self, name, module, environment)
        self._operators.append(operator)
        return operator

    @contextmanager
    def operator(
        self, name: str = "operator", *, module: str = "pinfleet_operator", **environment: str
    ) -> Iterator[OperatorProcess]:
        """An operator for the length of a block."""
        started = self.start_operator(name, module=module, **environment)
        try:
            yield started
        finally:
            started.stop()

    def key_file(self) -> Path:
        """The operator's HMAC key."""
        path = self.state / "operator.key"
        if not path.exists():
            path.write_bytes(os.urandom(32))
            path.chmod(0o600)
        return path

    def service_account_kubeconfig(self) -> Path:
        """A kubeconfig with a fresh token of the operator's service account and no other right."""
        token = self.kubectl("create", "token", SERVICE_ACCOUNT, "-n", SYSTEM_NAMESPACE, "--duration=12h").strip()
        path = self.state / "operator.kubeconfig"
        cluster = {"server": self.cluster.server, "certificate-authority": str(self.cluster.ca_file)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "local", "cluster": cluster}],
            "users": [{"name": SERVICE_ACCOUNT, "user": {"token": token}}],
            "contexts": [{"name": "local", "context": {"cluster": "local", "user": SERVICE_ACCOUNT}}],
            "current-context": "local",
        }
        path.write_text(yaml.safe_dump(content))
        path.chmod(0o600)
        return path

    def free_port(self) -> int:
        """A port that nobody listens on now."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            return port

    # Pods of the processes profile

    def pod_pid(self, pod_uid: str, container: str = "agent") -> int:
        """The process behind a pod's container."""
        return int((self.cluster.layout.pods / pod_uid / f"{container}.pid").read_text().split()[0])


def operator_manifests() -> list[Json]:
    """Account, RBAC and policies of the chart as Helm renders them; the operator is a process beside the cluster."""
    kinds = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
    policies = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    return [each for each in render(namespace=SYSTEM_NAMESPACE) if each["kind"] in kinds | policies]
