"""What a profile is: how pods come to run. The control plane is the same in all of them.

`standin` and `node` hold the two that there are; `Cluster` calls them and knows nothing else of pods.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from localcluster.apiclient import Client
from localcluster.layout import Facts, Layout


class Profile(Protocol):
    """How pods run on one kind of node."""

    @property
    def name(self) -> str:
        """The word after `--profile`."""
        ...

    @property
    def before(self) -> tuple[str, ...]:
        """Components that are started before the control plane, in order."""
        ...

    @property
    def after(self) -> tuple[str, ...]:
        """Components that are started after it, in order."""
        ...

    @property
    def usual_nodes(self) -> int:
        """How many nodes a cluster has that was told none."""
        ...

    @property
    def policies(self) -> bool:
        """Whether the API server is to refuse what pods cannot do here."""
        ...

    def lacking(self, layout: Layout, nodes: int) -> list[str]:
        """What this machine lacks for it, one line each; empty: nothing."""
        ...

    def prepare(self, layout: Layout, facts: Facts) -> None:
        """Write the files that its components read; keys and kubeconfigs are there."""
        ...

    def command(self, component: str, layout: Layout, facts: Facts, binaries: Path) -> list[str]:
        """The command line of one of its components."""
        ...

    def not_ready(self, component: str, layout: Layout, facts: Facts, admin: Client) -> str | None:
        """Why a component of it is not ready, in words; None when it is."""
        ...

    def started(self, component: str, layout: Layout, facts: Facts) -> None:
        """Do what is due once a component is ready, before the next is started."""
        ...

    def use_images(self, layout: Layout, images: Path, tell: Callable[[str], None]) -> None:
        """Take these images from now on; its components may run or not."""
        ...

    def clean(self, layout: Layout, facts: Facts | None) -> None:
        """End the pods and take away what is left; its components have ended, or died, or never were."""
        ...
