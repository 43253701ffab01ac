"""One cluster: brings the components up and down, and is the Python API of test fixtures.

Every component is a process in a session of its own, with its identity recorded and a log. `down` ends exactly those.
A cluster that is not whole is never mended: `up` ends what is left of it and makes a fresh one, with an empty etcd.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from localcluster import binary, bootstrap, components, loopback, needs, processes
from localcluster.apiclient import Client, is_health_ok
from localcluster.errors import ComponentFailed, LocalClusterError
from localcluster.layout import PORTS, Facts, Layout, pod_marker

_READY_SECONDS = 60.0
_STOP_SECONDS = 10.0
_POD_GRACE_SECONDS = 1.0
_POLL_SECONDS = 0.05
_FRESH = ("etcd", "pki", "components", "logs", "pods", "claims", "kubelet")


def _silent(_line: str) -> None:
    """Tell nobody."""


class Cluster:
    """A cluster with its state in a folder.

    Args:
        state: the folder; made by `up`. Two clusters with two folders do not meet.
        tell: gets one line of progress at a time; nothing is told without it.
    """

    def __init__(self, state: Path, tell: Callable[[str], None] = _silent) -> None:
        self.layout = Layout(state.resolve())
        self._tell = tell

    @property
    def facts(self) -> Facts:
        """What `up` chose.

        Raises:
            LocalClusterError: there was no `up`.
        """
        if facts := self.layout.read_facts():
            return facts
        raise LocalClusterError(f"there is no cluster in {self.layout.root}: run up first")

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.layout.kubeconfig()

    @property
    def server(self) -> str:
        """The API server's URL."""
        return self.facts.server

    @property
    def ca_file(self) -> Path:
        """The certificate authority of the API server."""
        return self.layout.pki / "ca.crt"

    @property
    def kubectl(self) -> Path:
        """A kubectl of the cluster's version."""
        return binary.folder() / "kubectl"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log: writes of all, reads of service accounts outside kube-system."""
        return self.layout.audit_log

    def up(self, *, images: Path | None = None, nodes: int = 2, backoff_seconds: float = 10) -> None:
        """Have a whole cluster: nothing to do when it is, a fresh one when it is not.

        Args:
            images: the images.yaml to use from now on; None keeps the one in use.
            nodes: how many nodes; only a fresh cluster takes a new number.
            backoff_seconds: the first pause before a container that ended is started again; a real kubelet's is 10.

        Raises:
            NeedMissing: this machine lacks something; nothing was started.
            BuildFailed: the binary could not be built.
            ComponentFailed: a component did not start; everything was ended again.
        """
        if images is not None and not images.is_file():
            raise LocalClusterError(f"there is no file {images}: give up --images the path of an images.yaml")
        self.layout.root.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if not self.problems():
                self._check_same(nodes)
                self._use_images(images)
                self._tell("already up")
                return
            needs.check(self.layout.root, self._tell)
            binaries = binary.ensure(self._tell)
            self._end_all()
            began = time.monotonic()
            try:
                self._start_fresh(binaries, images, nodes, backoff_seconds)
            except BaseException:
                self._end_all()
                raise
            self._tell(f"up in {time.monotonic() - began:.1f} s: {self.server}")

    def down(self) -> None:
        """End every process of this cluster, pods included; nothing to do when there is none."""
        if self.layout.root.exists():
            with self._alone():
                self._end_all()

    def problems(self) -> list[str]:
        """What keeps this cluster from being whole, in words; empty when all is well."""
        facts = self.layout.read_facts()
        if facts is None:
            return ["there was no up"]
        dead = [name for name in components.COMPONENTS if not self.is_running(name)]
        if dead:
            return [f"{name} is not running" for name in dead]
        client = self._admin(facts)
        unready = [] if client.is_ok("/readyz") else ["kube-apiserver does not answer /readyz"]
        return unready or [text for text in [bootstrap.unready_node(client, facts)] if text]

    def is_running(self, component: str) -> bool:
        """Whether the recorded process of a component lives."""
        return processes.is_alive(processes.read_identity(self.layout.identity(component)))

    def stop_component(self, name: str, number: int = signal.SIGTERM) -> None:
        """Send a signal to one component and wait until it is gone; pods live on when it is the kubelet.

        Args:
            name: etcd, kube-apiserver, kube-controller-manager, kube-scheduler or kubelet.
            number: SIGTERM or SIGKILL; a component that outlives SIGTERM is killed after 10 s.

        Raises:
            LocalClusterError: there is no such component.
        """
        self._check_name(name)
        identity = processes.read_identity(self.layout.identity(name))
        if identity is None:
            return
        processes.send(identity, number)
        if not processes.wait_gone(identity, _STOP_SECONDS):
            processes.end(identity, grace_seconds=0)
        self.layout.identity(name).unlink(missing_ok=True)

    def start_component(self, name: str) -> None:
        """Start one component again with its flags and data as before; nothing to do when it runs.

        Raises:
            ComponentFailed: it did not become ready.
        """
        self._check_name(name)
        facts = self.facts
        lock = loopback.try_lock(self._leases(), facts.octet)
        try:
            if not self.is_running(name):
                self._start(name, facts, binary.folder(), lock)
            self._wait_ready(name, facts)
        finally:
            if lock is not None:
                os.close(lock)

    def _check_name(self, name: str) -> None:
        if name not in components.COMPONENTS:
            raise LocalClusterError(f"there is no component {name}: one of {', '.join(components.COMPONENTS)}")

    def _check_same(self, nodes: int) -> None:
        if self.facts.nodes != nodes:
            raise LocalClusterError(f"this cluster has {self.facts.nodes} nodes, not {nodes}: run down first")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One `up` or `down` of a state folder at a time."""
        with (self.layout.root / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _leases(self) -> Path:
        return binary.cache_folder() / "loopback"

    def _admin(self, facts: Facts) -> Client:
        return Client(facts.ports["apiserver"], self.layout.pki, "admin")

    def _use_images(self, images: Path | None) -> None:
        """Point the kubelet at an images.yaml, atomically."""
        if images is not None:
            scratch = self.layout.root / ".images.new"
            scratch.unlink(missing_ok=True)
            scratch.symlink_to(images.absolute())
            scratch.replace(self.layout.images)

    def _start_fresh(self, binaries: Path, images: Path | None, nodes: int, backoff_seconds: float) -> None:
        """Lease a range, make files, start all components and wait until pods can be taken."""
        for name in _FRESH:
            shutil.rmtree(self.layout.root / name, ignore_errors=True)
        self.audit_log.unlink(missing_ok=True)
        self._use_images(images)
        before = self.layout.read_facts()
        lease = loopback.acquire(self._leases(), before.octet if before else None)
        try:
            ports = loopback.free_ports(lease.octet, PORTS, before.ports if before else {})
            facts = Facts(lease.octet, ports, nodes, backoff_seconds, sys.executable)
            self.layout.write_facts(facts)
            for folder in (self.layout.identities, self.layout.logs, self.layout.pods, self.layout.claims):
                folder.mkdir()
            from localcluster import credentials  # noqa: PLC0415 - after `needs` could say that a package is missing

            credentials.write_files(self.layout, facts)
            for name in ("etcd", "kube-apiserver"):
                self._start(name, facts, binaries, lease.descriptor)
            self._wait_ready("kube-apiserver", facts)
            bootstrap.create(self._admin(facts))
            for name in ("kube-controller-manager", "kube-scheduler", "kubelet"):
                self._start(name, facts, binaries, lease.descriptor)
            for name in ("kube-controller-manager", "kube-scheduler", "kubelet"):
                self._wait_ready(name, facts)
        finally:
            os.close(lease.descriptor)

    def _start(self, name: str, facts: Facts, binaries: Path, lock: int | None) -> None:
        """Start one component in a session of its own and record its identity."""
        environment = {"PATH": os.defpath, "HOME": str(self.layout.root)}
        if name == "kubelet":
            environment |= {"PYTHONPATH": str(Path(__file__).resolve().parent.parent), "PYTHONUNBUFFERED": "1"}
        with self.layout.log(name).open("ab") as log:
            process = subprocess.Popen(
                components.command(name, self.layout, facts, binaries),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.layout.root,
                start_new_session=True,
                pass_fds=() if lock is None else (lock,),
            )
        identity = processes.identify(process.pid)
        process.returncode = 0  # it outlives this object by design; `wait_gone` reaps it when it is a child
        if identity is None:
            raise ComponentFailed(self._failure(name, "died at once"))
        processes.write_identity(self.layout.identity(name), identity)

    def _wait_ready(self, name: str, facts: Facts) -> None:
        """Wait until a component answers.

        Raises:
            ComponentFailed: it died, or was not ready in time.
        """
        deadline = time.monotonic() + _READY_SECONDS
        while (why := self._not_ready(name, facts)) is not None:
            if not self.is_running(name):
                raise ComponentFailed(self._failure(name, "died"))
            if time.monotonic() > deadline:
                raise ComponentFailed(self._failure(name, f"was not ready in {_READY_SECONDS:.0f} s ({why})"))
            time.sleep(_POLL_SECONDS)

    def _not_ready(self, name: str, facts: Facts) -> str | None:
        """Why a component is not ready; None when it is."""
        match name:
            case "kube-apiserver":
                return None if self._admin(facts).is_ok("/readyz") else "/readyz does not answer"
            case "kube-controller-manager":
                return None if is_health_ok(facts.ports["controllers"]) else "/healthz does not answer"
            case "kube-scheduler":
                return None if is_health_ok(facts.ports["scheduler"]) else "/healthz does not answer"
            case "kubelet":
                return bootstrap.missing(self._admin(facts), facts)
            case _:
                return None

    def _failure(self, name: str, what: str) -> str:
        log = self.layout.log(name)
        tail = log.read_text(errors="replace").splitlines()[-8:] if log.exists() else []
        return "\n".join([f"cannot start {name}: it {what}; its log is {log}", *tail])

    def _end_all(self) -> None:
        """End the recorded components, then every pod process of this state folder."""
        for name in reversed(components.COMPONENTS):
            identity = processes.read_identity(self.layout.identity(name))
            if identity:
                processes.end(identity, grace_seconds=_STOP_SECONDS)
            self.layout.identity(name).unlink(missing_ok=True)
        left = processes.family(set(), pod_marker(self.layout.root))
        for identity in left:
            processes.send(identity, signal.SIGTERM)
        deadline = time.monotonic() + _POD_GRACE_SECONDS
        for identity in left:
            processes.end(identity, grace_seconds=max(0.0, deadline - time.monotonic()))
