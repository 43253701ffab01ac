"""Processes by identity: pid, start time and boot, so that a reused pid is never taken for the process that we started.

The supervisor and the stand-in kubelet both record and end processes through this module. It reads /proc (Linux only).
"""

import contextlib
import functools
import json
import os
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

# Offsets in /proc/<pid>/stat after the parenthesised name.
_STATE, _SESSION, _THREADS, _START_TICKS = 0, 3, 17, 19


@dataclass(frozen=True)
class Identity:
    """One process of one boot."""

    pid: int  # process id
    start_ticks: int  # field 22 of /proc/<pid>/stat: clock ticks after boot
    boot: str  # the kernel's boot id: start ticks may repeat after a reboot


@functools.cache
def boot_id() -> str:
    """The id of the running boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the name; None when the process is gone or a zombie.

    A leader that became a zombie before its other threads ended does not count as gone: they still hold its files, and
    with them the ports that a successor wants.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()
    is_over = fields[_STATE] in "ZX" and int(fields[_THREADS]) <= 1
    return None if is_over else fields


def identify(pid: int) -> Identity | None:
    """The identity of a live process; None when it is gone."""
    fields = _stat(pid)
    return Identity(pid, int(fields[_START_TICKS]), boot_id()) if fields else None


def start_ticks(pid: int) -> int:
    """The start time of an unreaped child, zombie or not."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return int(text[text.rindex(")") + 2 :].split()[_START_TICKS])


def is_alive(identity: Identity | None) -> bool:
    """Whether this very process still runs."""
    return identity is not None and identity == identify(identity.pid)


def write_identity(path: Path, identity: Identity) -> None:
    """Record an identity: one JSON object, replaced atomically."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(json.dumps(asdict(identity)) + "\n")
    scratch.replace(path)


def read_identity(path: Path) -> Identity | None:
    """The recorded identity; None when there is no file or it cannot be read."""
    try:
        return Identity(**json.loads(path.read_text()))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None


def send(identity: Identity, number: int) -> None:
    """Send a signal to this very process, if it still runs."""
    if is_alive(identity):
        with contextlib.suppress(ProcessLookupError):
            os.kill(identity.pid, number)


def end(identity: Identity, *, grace_seconds: float) -> None:
    """SIGTERM, wait, SIGKILL, wait: on return this very process is gone.

    Args:
        identity: the process; nothing happens when it is gone already.
        grace_seconds: how long it may take after SIGTERM; 0 kills at once.
    """
    if grace_seconds > 0:
        send(identity, signal.SIGTERM)
        if wait_gone(identity, grace_seconds):
            return
    send(identity, signal.SIGKILL)
    wait_gone(identity, 10)


def wait_gone(identity: Identity, seconds: float) -> bool:
    """Whether the process was gone within so many seconds; a child of ours is reaped."""
    deadline = time.monotonic() + seconds
    while is_alive(identity):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(identity.pid, os.WNOHANG)
    return True


def family(sessions: set[int], marker: str) -> list[Identity]:
    """Live processes of these sessions, and those whose environment carries the marker (they left the session).

    Args:
        sessions: session ids.
        marker: `NAME=value` as it stands in the environment; a prefix of a longer value does not match.
    """
    found = []
    needle = marker.encode()
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names are all we need of some hundred entries
        if not entry.isdigit() or not (fields := _stat(int(entry))):
            continue
        if int(fields[_SESSION]) in sessions or needle in _environment(int(entry)):
            found.append(Identity(int(entry), int(fields[_START_TICKS]), boot_id()))
    return found


def _environment(pid: int) -> list[bytes]:
    """The environment that a process was started with; empty when it is not ours to read."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
