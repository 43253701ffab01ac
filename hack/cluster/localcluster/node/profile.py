"""The profile `node` as the cluster sees it: its components, when each is ready, and how all of it goes away."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from localcluster import binary, bootstrap, processes
from localcluster.apiclient import Client
from localcluster.errors import LocalClusterError
from localcluster.layout import Facts, Layout
from localcluster.node import cgroups, needs, pause, sandbox, settings
from localcluster.node.names import Names


@dataclass(frozen=True)
class RealNode:
    """Pods as containers, on one node."""

    name: str = "node"
    before: tuple[str, ...] = ("sandbox",)
    after: tuple[str, ...] = ("containerd", "kubelet", "kube-proxy", "provisioner")
    usual_nodes: int = 1
    policies: bool = False

    def lacking(self, layout: Layout, nodes: int) -> list[str]:
        """Root, packages, room for its addresses."""
        return needs.lacking(layout.root, nodes)

    def prepare(self, layout: Layout, facts: Facts) -> None:
        """Write the configuration files and the pause image."""
        for name in ("node", "containerd"):
            shutil.rmtree(layout.root / name, ignore_errors=True)
        settings.write(layout, facts)
        pause.write(layout.root / "node" / "pause.tar")

    def command(self, component: str, layout: Layout, facts: Facts, binaries: Path) -> list[str]:
        """The command line of one component, begun in the control group and in the namespaces."""
        config = layout.root / "node"
        inside = {
            "containerd": ["containerd", "--config", str(config / "containerd.toml")],
            "kubelet": [
                str(binaries / "kubelet"),
                f"--config={config / 'kubelet.json'}",
                f"--kubeconfig={layout.kubeconfig('node-1')}",
                "--hostname-override=node-1",
                f"--node-ip={Names.of(facts).node_address}",
                f"--root-dir={layout.root / 'kubelet'}",
                "--oom-score-adj=0",
            ],
            "kube-proxy": [str(binaries / "kube-proxy"), f"--config={config / 'kube-proxy.json'}"],
        }
        match component:
            case "sandbox":
                words = sandbox.HOLDER
            case "provisioner":
                words = [sys.executable, "-m", "localcluster.node.provisioner", str(layout.root)]
            case _:
                words = sandbox.entered(layout, inside[component])
        return sandbox.in_group(Names.of(facts), words)

    def not_ready(self, component: str, layout: Layout, facts: Facts, admin: Client) -> str | None:
        """Why a component is not ready."""
        match component:
            case "sandbox":
                return None if sandbox.is_parted(layout) else "it has no namespaces yet"
            case "containerd":
                return None if self._answers(layout) else "it does not answer"
            case "kubelet":
                return bootstrap.missing(admin, facts)
            case _:
                return None

    def _answers(self, layout: Layout) -> bool:
        try:
            self._ctr(layout, "version")
        except LocalClusterError:
            return False
        return True

    def _ctr(self, layout: Layout, *words: str, given: Path | None = None) -> str:
        """Containerd's own client, inside; `given` is its standard input."""
        return sandbox.run(*sandbox.entered(layout, ["ctr", "--namespace=k8s.io", *words]), given=given)

    def started(self, component: str, layout: Layout, facts: Facts) -> None:
        """Furnish the sandbox; give containerd the images."""
        if component == "sandbox":
            sandbox.furnish(layout, Names.of(facts), [layout.root, binary.folder()])
        elif component == "containerd":
            self._ctr(layout, "images", "import", "-", given=layout.root / "node" / "pause.tar")
            if layout.images.exists():
                self._import(layout, layout.images)

    def use_images(self, layout: Layout, images: Path, tell: Callable[[str], None]) -> None:
        """Import every archive of a folder, now if containerd runs, else as soon as it does.

        Raises:
            LocalClusterError: there is no such folder.
        """
        if not images.is_dir():
            raise LocalClusterError(f"there is no folder {images}: give up --images a folder of image archives")
        scratch = layout.root / ".images.new"
        scratch.unlink(missing_ok=True)
        scratch.symlink_to(images.absolute())
        scratch.replace(layout.images)
        if processes.is_alive(processes.read_identity(layout.identity("containerd"))):
            self._import(layout, images, tell)

    def _import(self, layout: Layout, images: Path, tell: Callable[[str], None] = lambda _: None) -> None:
        for archive in sorted(images.glob("*.tar")):
            tell(f"importing {archive.name}")
            self._ctr(layout, "images", "import", "-", given=archive)

    def clean(self, _layout: Layout, facts: Facts | None) -> None:
        """Kill whatever is in the control group, pods and shims too, and remove the link."""
        if facts is not None and facts.profile == self.name:
            names = Names.of(facts)
            cgroups.end(names.cgroup)
            sandbox.unlink(names)
