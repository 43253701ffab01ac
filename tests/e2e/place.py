"""Where the suite runs: `CLUSTER=node` (its own, the default), `kind`, or `current` (the kubeconfig at hand)."""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from hack import images
from localcluster import Cluster, LocalClusterError, binary
from localcluster.node import needs

PLACES = ("node", "kind", "current")
KIND_NAME = "pinfleet-e2e"

Tell = Callable[[str], None]


def chosen(environment: Mapping[str, str] = os.environ) -> str:
    """The word in CLUSTER.

    Raises:
        LocalClusterError: it is none of ours.
    """
    word = environment.get("CLUSTER", "") or "node"
    if word not in PLACES:
        raise LocalClusterError(f"CLUSTER={word} is none of {', '.join(PLACES)}")
    return word


class Current(Cluster):
    """The cluster of the kubeconfig at hand; its nodes have the images, or can pull them. Not ours to end."""

    def up(self, *, images: Path | None = None, nodes: int | None = None, backoff_seconds: float = 10) -> None:
        """Look whether it answers.

        Raises:
            LocalClusterError: it does not.
        """
        del images, nodes, backoff_seconds
        self.layout.root.mkdir(parents=True, exist_ok=True)
        binary.ensure(self._tell)
        done = subprocess.run([self.kubectl, "version"], capture_output=True, text=True, check=False)
        if done.returncode:
            raise LocalClusterError(f"the cluster of the current kubeconfig does not answer: {done.stderr.strip()}")

    def down(self) -> None:
        """Leave it."""

    @property
    def kubeconfig(self) -> Path:
        """As kubectl finds it."""
        return Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")


class Kind(Current):
    """A cluster in Docker containers, made by kind and removed again."""

    def up(self, *, images: Path | None = None, nodes: int | None = None, backoff_seconds: float = 10) -> None:
        """Have it, with the images.

        Raises:
            LocalClusterError: kind or Docker is not there, or failed.
        """
        for command in ("kind", "docker"):
            if shutil.which(command) is None:
                raise LocalClusterError(f"CLUSTER=kind needs {command} on PATH")
        self.layout.root.mkdir(parents=True, exist_ok=True)
        kubeconfig = f"--kubeconfig={self.kubeconfig}"
        _run("kind", "create", "cluster", f"--name={KIND_NAME}", kubeconfig, "--wait=120s")
        if images is not None:
            for archive in images.glob("*.tar"):
                _run("kind", "load", "image-archive", str(archive), f"--name={KIND_NAME}")
        super().up(images=images, nodes=nodes, backoff_seconds=backoff_seconds)

    def down(self) -> None:
        """Remove it."""
        _run("kind", "delete", "cluster", f"--name={KIND_NAME}", f"--kubeconfig={self.kubeconfig}")

    @property
    def kubeconfig(self) -> Path:
        """In the state folder."""
        return self.layout.root / "kind.kubeconfig"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LocalClusterError(f"{' '.join(command)} failed: {done.stderr.strip()}")


def brought_up(state: Path, tell: Tell) -> Cluster:
    """The chosen cluster, whole, with the images.

    Raises:
        LocalClusterError: the machine lacks something; says what.
    """
    place = chosen()
    made = {"kind": Kind, "current": Current}[place](state, tell) if place != "node" else Cluster(state, tell, "node")
    if place == "node":
        lacking = made.profile.lacking(made.layout, 1) + images.lacking()
        if lacking:
            raise LocalClusterError("this machine lacks something:\n" + "\n".join(f"- {line}" for line in lacking))
    archives = None if place == "current" else images.Builder(tell).archive()
    made.down()
    made.up(images=archives)
    return made


def install_packages(tell: Tell) -> None:
    """Install what profile `node` needs by apt-get: only what is missing, after saying its names and sizes.

    Raises:
        LocalClusterError: this is not root, or no Debian; says what is needed.
    """
    packages = sorted({*needs.missing_packages(), *images.missing_packages()})
    if os.geteuid() != 0:
        more = f", and these packages: {' '.join(packages)}" if packages else ""
        raise LocalClusterError(f"CLUSTER=node needs root{more} (docs/e2e.md); or use CLUSTER=kind or CLUSTER=current")
    if packages:
        if shutil.which("apt-get") is None:
            raise LocalClusterError(f"these packages of Debian are missing, by whatever name: {' '.join(packages)}")
        tell(f"installing {' '.join(packages)} by apt-get ({needs.SIZE})")
        _run("apt-get", "update", "-q")
        _run("apt-get", "install", "-qy", "--no-install-recommends", *packages)
