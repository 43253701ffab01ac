"""Starts, awaits and ends the components of a cluster, each a recorded process with a log, in a session of its own."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from localcluster import bootstrap, components, processes
from localcluster.apiclient import Client, is_health_ok
from localcluster.errors import ComponentFailed, LocalClusterError
from localcluster.layout import Facts, Layout
from localcluster.profile import Profile

_READY_SECONDS = 60.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05


def admin(layout: Layout, facts: Facts) -> Client:
    """The administrator's client."""
    return Client(facts.ports["apiserver"], layout.pki, "admin", facts.host)


@dataclass(frozen=True)
class Running:
    """The components of one cluster."""

    layout: Layout
    profile: Profile

    @property
    def names(self) -> tuple[str, ...]:
        """Every component, in the order of starting."""
        return (*self.profile.before, *components.CONTROL_PLANE, *self.profile.after)

    def is_running(self, name: str) -> bool:
        """Whether the recorded process of a component lives."""
        return processes.is_alive(processes.read_identity(self.layout.identity(name)))

    def check_name(self, name: str) -> None:
        """Refuse a word that is no component.

        Raises:
            LocalClusterError: there is no such component.
        """
        if name not in self.names:
            raise LocalClusterError(f"there is no component {name}: one of {', '.join(self.names)}")

    def start_all(self, facts: Facts, binaries: Path, lock: int) -> None:
        """Start every component, each as soon as those that it needs are ready.

        Raises:
            ComponentFailed: one died or did not become ready.
        """
        for name in self.profile.before:
            self.start(name, facts, binaries, lock)
            self.wait_ready(name, facts)
            self.profile.started(name, self.layout, facts)
        for name in ("etcd", "kube-apiserver"):
            self.start(name, facts, binaries, lock)
        self.wait_ready("kube-apiserver", facts)
        bootstrap.create(admin(self.layout, facts), policies=self.profile.policies)
        others = ("kube-controller-manager", "kube-scheduler")
        for name in others:
            self.start(name, facts, binaries, lock)
        for name in self.profile.after[:1]:
            self.start(name, facts, binaries, lock)
        for name in others:
            self.wait_ready(name, facts)
        for name in self.profile.after:
            self.start(name, facts, binaries, lock)
            self.wait_ready(name, facts)
            self.profile.started(name, self.layout, facts)

    def start(self, name: str, facts: Facts, binaries: Path, lock: int | None) -> None:
        """Start one component and record its identity; nothing to do when it runs."""
        if self.is_running(name):
            return
        environment = {"PATH": f"{os.defpath}:/usr/sbin:/sbin", "HOME": str(self.layout.root)}
        environment |= {"PYTHONPATH": str(Path(__file__).resolve().parent.parent), "PYTHONUNBUFFERED": "1"}
        is_ours = name in components.CONTROL_PLANE
        command = (components if is_ours else self.profile).command(name, self.layout, facts, binaries)
        with self.layout.log(name).open("ab") as log:
            process = subprocess.Popen(
                command,
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

    def wait_ready(self, name: str, facts: Facts) -> None:
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
            case "etcd":
                return None
            case "kube-apiserver":
                return None if admin(self.layout, facts).is_ok("/readyz") else "/readyz does not answer"
            case "kube-controller-manager":
                return None if is_health_ok(facts.ports["controllers"]) else "/healthz does not answer"
            case "kube-scheduler":
                return None if is_health_ok(facts.ports["scheduler"]) else "/healthz does not answer"
            case _:
                return self.profile.not_ready(name, self.layout, facts, admin(self.layout, facts))

    def _failure(self, name: str, what: str) -> str:
        log = self.layout.log(name)
        tail = log.read_text(errors="replace").splitlines()[-8:] if log.exists() else []
        return "\n".join([f"cannot start {name}: it {what}; its log is {log}", *tail])

    def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        """Send a signal to one component and wait until it is gone; one that outlives it for 10 s is killed."""
        identity = processes.read_identity(self.layout.identity(name))
        if identity is not None:
            processes.send(identity, number)
            if not processes.wait_gone(identity, _STOP_SECONDS):
                processes.end(identity, grace_seconds=0)
            self.layout.identity(name).unlink(missing_ok=True)

    def end_all(self) -> None:
        """End every component, then what its pods left."""
        for name in reversed(self.names):
            self.stop(name)
        self.profile.clean(self.layout, self.layout.read_facts())
