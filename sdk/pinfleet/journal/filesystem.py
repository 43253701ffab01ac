"""Refuses SQLite on file systems where several processes cannot share it safely."""

from pathlib import Path
from typing import Final

from pinfleet.errors import JournalRefused

SHARED: Final = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "ceph",
        "lustre",
        "glusterfs",
        "afs",
        "gpfs",
        "beegfs",
        "ocfs2",
        "gfs2",
    }
)
"""File systems whose locks or shared memory do not hold between machines, or between a sandbox and its host."""

_MOUNTS: Final = Path("/proc/self/mountinfo")


def require_local(folder: Path, mounts: Path = _MOUNTS) -> None:
    """Raise JournalRefused, naming the file system, if the folder is not on a local one."""
    kind = _kind_of(folder.resolve(), mounts)
    if kind is None:
        return
    if kind in SHARED or (kind.startswith("fuse.") and kind != "fuse.fuse-overlayfs"):
        raise JournalRefused(
            f"cannot open a SQLite journal in {folder}: {kind} is not a local file system. "
            "Use a claim on a local disk for one node, or PostgreSQL"
        )


def _kind_of(folder: Path, mounts: Path) -> str | None:
    """Return the file system type of the mount that holds the folder; None where the kernel does not say."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    best: tuple[int, str] | None = None
    for line in lines:
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].encode().decode("unicode_escape")  # blanks stand as \040
        if folder.is_relative_to(point) and (best is None or len(point) >= best[0]):
            best = (len(point), after.split(" ")[0])
    return best[1] if best else None
