"""One cluster: brings the components up and down, and is the Python API of test fixtures.

Every component is a process in a session of its own, with its identity recorded and a log. `down` ends exactly those.
A cluster that is not whole is never mended: `up` ends what is left of it and makes a fresh one, with an empty etcd.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from localcluster import binary, bootstrap, loopback, needs
from localcluster.apiclient import Client
from localcluster.errors import LocalClusterError
from localcluster.layout import PORTS, Facts, Layout
from localcluster.node.profile import RealNode
from localcluster.profile import Profile
from localcluster.running import Running, admin
from localcluster.standin import StandIn

_FRESH = ("etcd", "pki", "components", "logs", "pods", "claims", "kubelet")
PROFILES: dict[str, Profile] = {profile.name: profile for profile in (StandIn(), RealNode())}


def _silent(_line: str) -> None:
    """Tell nobody."""


class Cluster:
    """A cluster with its state in a folder.

    Args:
        state: the folder; made by `up`. Two clusters with two folders do not meet.
        tell: gets one line of progress at a time; nothing is told without it.
        profile: how pods run: `processes` or `node`; None: as the last `up` had it, `processes` before the first.
    """

    def __init__(self, state: Path, tell: Callable[[str], None] = _silent, profile: str | None = None) -> None:
        self.layout = Layout(state.resolve())
        self._tell = tell
        recorded = self.layout.read_facts()
        self.profile = PROFILES[profile or (recorded.profile if recorded else "processes")]
        self._running = Running(self.layout, self.profile)

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

    @property
    def components(self) -> tuple[str, ...]:
        """The names of the components, in the order of starting."""
        return self._running.names

    def admin(self) -> Client:
        """A client with every right."""
        return admin(self.layout, self.facts)

    def up(self, *, images: Path | None = None, nodes: int | None = None, backoff_seconds: float = 10) -> None:
        """Have a whole cluster: nothing to do when it is, a fresh one when it is not.

        Args:
            images: the images.yaml to use from now on, or for real nodes a folder of image archives; None keeps those
                in use.
            nodes: how many nodes, None for the profile's usual number; only a fresh cluster takes a new number.
            backoff_seconds: the first pause before a container that ended is started again; a real kubelet's is 10,
                and cannot be changed.

        Raises:
            NeedMissing: this machine lacks something; nothing was started.
            BuildFailed: the binary could not be built.
            ComponentFailed: a component did not start; everything was ended again.
        """
        nodes = nodes or self.profile.usual_nodes
        self.layout.root.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if not self.problems():
                self._check_same(nodes)
                self._use_images(images)
                self._tell("already up")
                return
            self._use_images(images)
            needs.check(self.layout.root, self.profile.lacking(self.layout, nodes), self._tell)
            binaries = binary.ensure(self._tell)
            self._end_all()
            began = time.monotonic()
            try:
                self._start_fresh(binaries, nodes, backoff_seconds)
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
        if facts.profile != self.profile.name:
            return [f"its profile is {facts.profile}"]
        dead = [name for name in self.components if not self.is_running(name)]
        if dead:
            return [f"{name} is not running" for name in dead]
        client = self.admin()
        unready = [] if client.is_ok("/readyz") else ["kube-apiserver does not answer /readyz"]
        return unready or [text for text in [bootstrap.unready_node(client, facts)] if text]

    def is_running(self, component: str) -> bool:
        """Whether the recorded process of a component lives."""
        return self._running.is_running(component)

    def stop_component(self, name: str, number: int = signal.SIGTERM) -> None:
        """Send a signal to one component and wait until it is gone; pods live on when it is the kubelet.

        Args:
            name: one of `components`.
            number: SIGTERM or SIGKILL; a component that outlives SIGTERM is killed after 10 s.

        Raises:
            LocalClusterError: there is no such component.
        """
        self._running.check_name(name)
        self._running.stop(name, number)

    def start_component(self, name: str) -> None:
        """Start one component again with its flags and data as before; nothing to do when it runs.

        Raises:
            ComponentFailed: it did not become ready.
        """
        self._running.check_name(name)
        facts = self.facts
        lock = loopback.try_lock(self._leases(), facts.octet)
        try:
            self._running.start(name, facts, binary.folder(), lock)
            self._running.wait_ready(name, facts)
        finally:
            if lock is not None:
                os.close(lock)

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

    def _use_images(self, images: Path | None) -> None:
        if images is not None:
            self.profile.use_images(self.layout, images, self._tell)

    def _end_all(self) -> None:
        """End what runs under this state folder, whichever profile it was started with."""
        facts = self.layout.read_facts()
        recorded = PROFILES[facts.profile] if facts else self.profile
        Running(self.layout, recorded).end_all()

    def _start_fresh(self, binaries: Path, nodes: int, backoff_seconds: float) -> None:
        """Lease a range, make files, start all components and wait until pods can be taken."""
        for name in _FRESH:
            shutil.rmtree(self.layout.root / name, ignore_errors=True)
        self.audit_log.unlink(missing_ok=True)
        before = self.layout.read_facts()
        lease = loopback.acquire(self._leases(), before.octet if before else None)
        try:
            ports = loopback.free_ports(lease.octet, PORTS, before.ports if before else {})
            facts = Facts(lease.octet, ports, nodes, backoff_seconds, sys.executable, self.profile.name)
            self.layout.write_facts(facts)
            for folder in (self.layout.identities, self.layout.logs, self.layout.pods, self.layout.claims):
                folder.mkdir()
            from localcluster import credentials  # noqa: PLC0415 - after `needs` could say that a package is missing

            credentials.write_files(self.layout, facts)
            self.profile.prepare(self.layout, facts)
            self._running.start_all(facts, binaries, lease.descriptor)
        finally:
            os.close(lease.descriptor)
