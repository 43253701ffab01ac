"""The profile `processes`: a stand-in kubelet runs pods as local processes, without root and without containers."""

import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from localcluster import bootstrap, processes
from localcluster.apiclient import Client
from localcluster.errors import LocalClusterError
from localcluster.layout import Facts, Layout, pod_marker

_POD_GRACE_SECONDS = 1.0


@dataclass(frozen=True)
class StandIn:
    """Pods as processes of this machine."""

    name: str = "processes"
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ("kubelet",)
    usual_nodes: int = 2
    policies: bool = True

    def lacking(self, _layout: Layout, _nodes: int) -> list[str]:
        """Nothing beside what every cluster needs."""
        return []

    def prepare(self, _layout: Layout, _facts: Facts) -> None:
        """Nothing: it reads the facts."""

    def command(self, _component: str, layout: Layout, _facts: Facts, _binaries: Path) -> list[str]:
        """The stand-in kubelet's command line."""
        return [sys.executable, "-m", "localcluster.kubelet", str(layout.root)]

    def not_ready(self, _component: str, _layout: Layout, facts: Facts, admin: Client) -> str | None:
        """What keeps its nodes from taking pods."""
        return bootstrap.missing(admin, facts) or bootstrap.inactive_policies(admin)

    def started(self, _component: str, _layout: Layout, _facts: Facts) -> None:
        """Nothing is due."""

    def use_images(self, layout: Layout, images: Path, _tell: Callable[[str], None]) -> None:
        """Point the kubelet at an images.yaml, atomically.

        Raises:
            LocalClusterError: there is no such file.
        """
        if not images.is_file():
            raise LocalClusterError(f"there is no file {images}: give up --images the path of an images.yaml")
        scratch = layout.root / ".images.new"
        scratch.unlink(missing_ok=True)
        scratch.symlink_to(images.absolute())
        scratch.replace(layout.images)

    def clean(self, layout: Layout, _facts: Facts | None) -> None:
        """End every pod process of this state folder: they outlive their kubelet."""
        left = processes.family(set(), pod_marker(layout.root))
        for identity in left:
            processes.send(identity, signal.SIGTERM)
        deadline = time.monotonic() + _POD_GRACE_SECONDS
        for identity in left:
            processes.end(identity, grace_seconds=max(0.0, deadline - time.monotonic()))
