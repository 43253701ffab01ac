"""The control group that holds every process of one cluster: it finds them after any crash, shims and pods too.

Both versions of control groups are served: with the first, the group is made in every hierarchy.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

_POLL_SECONDS = 0.02
_KILL_SECONDS = 10.0


def hierarchies() -> list[Path]:
    """Where control group file systems are mounted."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.split()[0] in {"cgroup", "cgroup2"}:
            found.append(Path(fields.split()[4]))
    return found


def groups(name: str) -> list[Path]:
    """The group's folders that exist, one per hierarchy."""
    return [folder for root in hierarchies() if (folder := root / name).is_dir()]


def make(name: str) -> list[Path]:
    """Make the group everywhere, with a leaf for the components.

    Returns:
        The files that take the id of a process which is to be in the leaf.
    """
    files = []
    for root in hierarchies():
        folder = root / name / "components"
        folder.mkdir(parents=True, exist_ok=True)
        for level in (root / name, folder):
            for setting in ("cpuset.cpus", "cpuset.mems"):  # version 1: empty ones take no process
                if (level / setting).exists() and not (level / "cgroup.controllers").exists():
                    (level / setting).write_text((level.parent / setting).read_text())
        files.append(folder / "cgroup.procs")
    return files


def members(name: str) -> set[int]:
    """The ids of every process in the group, at any depth."""
    found: set[int] = set()
    for folder in groups(name):
        for level in _levels(folder):
            with contextlib.suppress(OSError):
                found |= {int(line) for line in (level / "cgroup.procs").read_text().split()}
    return found


def end(name: str) -> None:
    """Kill every member and remove the group; nothing to do when there is none.

    Raises:
        TimeoutError: a process or a folder stayed.
    """
    deadline = time.monotonic() + _KILL_SECONDS
    while groups(name):
        for pid in members(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for folder in groups(name):
            for level in _levels(folder):
                with contextlib.suppress(OSError):  # busy until the last of its processes is gone
                    level.rmdir()
        if time.monotonic() > deadline:
            raise TimeoutError(f"control group {name} is still there with processes {sorted(members(name))}")
        if groups(name):
            time.sleep(_POLL_SECONDS)


def _levels(folder: Path) -> Iterator[Path]:
    """The folder and all below it, deepest first."""
    for parent, _, _ in os.walk(folder, topdown=False):
        yield Path(parent)
