"""What a container needs of its pod, and where its files are: between `containers` and `pods`."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from localcluster.kubelet.api import Object
from localcluster.kubelet.images import Images
from localcluster.kubelet.runtime import Launch


class Host(Protocol):
    """What a container needs of its pod."""

    object: Object  # the pod as last seen
    address: str  # the process's own address
    images: Images  # the images in use
    speaking: asyncio.Event  # cleared while the pod has vanished
    backoff_seconds: float  # the first pause

    def touch(self) -> None:
        """Something changed: the status may have to be written."""

    def misbehaviour(self) -> str:
        """The annotation's value; empty when it behaves."""

    async def launch(self, spec: Object, files: "Files", container_id: str, restarts: int) -> Launch:
        """How to start a container.

        Args:
            spec: the container.
            files: where its files are.
            container_id: of the execution.
            restarts: how often it was started before.

        Raises:
            BadConfig: it cannot be configured yet.
        """


@dataclass(frozen=True)
class Files:
    """Where a container's files are."""

    folder: Path  # the pod's folder
    logs: Path  # one log per execution
    name: str  # the container's name

    @property
    def record(self) -> Path:
        """The lasting part of the record."""
        return self.folder / f"{self.name}.json"

    @property
    def identity(self) -> Path:
        """The process's identity while it runs."""
        return self.folder / f"{self.name}.identity"

    @property
    def pid(self) -> Path:
        """The process id alone, for tests; there while the container runs."""
        return self.folder / f"{self.name}.pid"

    @property
    def launch(self) -> Path:
        """How the latest execution was started."""
        return self.folder / f"{self.name}.launch"

    @property
    def message(self) -> Path:
        """The termination message that the process writes."""
        return self.folder / f"{self.name}.termination"

    def log(self, restarts: int) -> Path:
        """The log of one execution."""
        return self.logs / self.name / f"{restarts}.log"
