"""Container processes: spawning, adopting, waiting and killing, each in a session of its own.

A process outlives the kubelet. One that a new kubelet adopts is watched through its pidfd; its exit code is then
unknown, because only a parent gets it.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from localcluster import processes


def marker(container_id: str) -> str:
    """The environment entry that every process of one execution inherits."""
    return f"LOCALCLUSTER_CONTAINER={container_id}"


@dataclass(frozen=True)
class Launch:
    """What is needed to start one process."""

    argv: list[str]  # the command; its first word is looked up on the environment's PATH
    environment: dict[str, str]  # the whole environment
    folder: Path  # the working folder
    log: Path  # stdout and stderr are appended here
    marker: str  # an entry of the environment by which descendants are found that left the session

    def save(self, path: Path) -> None:
        """Write it for a later kubelet, readable by the owner alone: it holds values of Secrets."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self), default=str))

    @classmethod
    def load(cls, path: Path) -> "Launch | None":
        """What an earlier kubelet wrote; None when there is nothing whole."""
        try:
            saved = json.loads(path.read_text())
            return cls(**saved | {"folder": Path(saved["folder"]), "log": Path(saved["log"])})
        except (FileNotFoundError, ValueError):
            return None


class Process:
    """One running container process."""

    def __init__(self, identity: processes.Identity, marker: str, child: subprocess.Popen[bytes] | None) -> None:
        self.identity = identity
        self._marker = marker
        self._child = child
        self._loop = asyncio.get_running_loop()
        self.exit_code: asyncio.Future[int | None] = self._loop.create_future()  # None: only a parent would know
        try:
            self._pidfd = os.pidfd_open(identity.pid)
        except ProcessLookupError:
            self.exit_code.set_result(None)
            return
        if child is None and not processes.is_alive(identity):  # the pid may be a stranger's by now
            os.close(self._pidfd)
            self.exit_code.set_result(None)
            return
        self._loop.add_reader(self._pidfd, self._on_exit)

    @classmethod
    def spawn(cls, launch: Launch) -> "Process":
        """Start a process.

        Raises:
            OSError: the command or the folder is not there.
        """
        with launch.log.open("ab") as log:
            child = subprocess.Popen(
                launch.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=launch.environment,
                cwd=launch.folder,
                start_new_session=True,
            )
        ticks = processes.start_ticks(child.pid)
        return cls(processes.Identity(child.pid, ticks, processes.boot_id()), launch.marker, child)

    @classmethod
    def adopt(cls, identity: processes.Identity, marker: str) -> "Process":
        """Take over a process that an earlier kubelet started."""
        return cls(identity, marker, None)

    @property
    def is_running(self) -> bool:
        """Whether its end has not been seen yet."""
        return not self.exit_code.done()

    def signal(self, number: int) -> None:
        """Send a signal to the whole group."""
        if self.is_running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.identity.pid, number)

    async def wait(self, seconds: float | None = None) -> bool:
        """Whether it ended within so many seconds."""
        done, _ = await asyncio.wait([self.exit_code], timeout=seconds)
        return bool(done)

    async def sweep(self) -> None:
        """After the end: kill what the process left behind, wherever it hid."""
        left = await asyncio.to_thread(processes.family, {self.identity.pid}, self._marker)
        for identity in left:
            processes.send(identity, signal.SIGKILL)

    def _on_exit(self) -> None:
        """The process became a zombie or is gone: kill its group while the pid cannot be reused, then reap it."""
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        if self._child is None:
            self.exit_code.set_result(None)
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.identity.pid, signal.SIGKILL)
        code = self._child.wait()
        self.exit_code.set_result(code if code >= 0 else 128 - code)
