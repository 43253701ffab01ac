"""A second octet of 127.0.0.0/8 for each running cluster, so that copies on one machine never meet.

The lease is an flock on a file in the cache folder. The lock's file descriptor is handed to every component, so it is
held for as long as any of them lives, and the kernel gives it back when the last one dies, however it dies.
"""

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from localcluster.errors import NeedMissing

OCTETS = range(32, 232)  # below 32 other tools like to live (127.0.0.53, 127.0.1.1)
_FIRST_PORT = 20_000  # below the kernel's ephemeral range, which begins at 32,768
_BLOCK = 20  # ports per octet


@dataclass(frozen=True)
class Lease:
    """A held octet; close the descriptor only after the components have inherited it."""

    octet: int  # n of 127.n.0.0/16
    descriptor: int  # the locked file, inherited by components


def acquire(folder: Path, preferred: int | None) -> Lease:
    """Take the preferred octet if it is free, else any free one.

    Raises:
        NeedMissing: all octets are held by other clusters.
    """
    folder.mkdir(parents=True, exist_ok=True)
    order = [preferred] if preferred in OCTETS else []
    for octet in [*order, *OCTETS]:
        if octet is not None and (descriptor := try_lock(folder, octet)) is not None:
            return Lease(octet, descriptor)
    raise NeedMissing(f"cannot lease a loopback range: all {len(OCTETS)} are held by running clusters; take one down")


def try_lock(folder: Path, octet: int) -> int | None:
    """The locked descriptor, or None when a running cluster holds this octet."""
    descriptor = os.open(folder / str(octet), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def is_free(port: int, address: str = "127.0.0.1") -> bool:
    """Whether nobody listens on this port of the address."""
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def free_ports(octet: int, names: tuple[str, ...], recorded: dict[str, int]) -> dict[str, int]:
    """One free port per name from this octet's own block; recorded ones are kept while they are free.

    Raises:
        NeedMissing: strangers hold the block.
    """
    first = _FIRST_PORT + (octet - OCTETS.start) * _BLOCK
    block = range(first, first + _BLOCK)
    if set(recorded) == set(names) and all(port in block and is_free(port) for port in recorded.values()):
        return dict(recorded)
    candidates: Iterator[int] = (port for port in block if is_free(port))
    chosen = dict(zip(names, candidates, strict=False))
    if len(chosen) < len(names):
        raise NeedMissing(
            f"cannot find {len(names)} free ports in {first}-{first + _BLOCK - 1}: see who listens there (ss -ltnp)"
        )
    return chosen
