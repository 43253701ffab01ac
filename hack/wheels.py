"""The wheels that go into the images: ours, built from the checkout, and what they need, as requirements.lock has it.

Fetched for the images' Python, not for the one that runs this; cached by content in the user's cache folder.
"""

import hashlib
import importlib.metadata
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from localcluster import binary

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
PYTHON = "3.11"  # of Debian 12, and of the image that the Dockerfiles name
_GLIBC = ("2014", "_2_17", "_2_24", "_2_28", "_2_34")
_OURS = {"pinfleet": ROOT / "sdk", "pinfleet-operator": ROOT}
_SOURCES = {"pinfleet": ROOT / "sdk", "pinfleet-operator": ROOT / "operator"}

Tell = Callable[[str], None]


def folder_for(package: str, tell: Tell) -> Path:
    """A folder with one of our packages and all that it needs, as wheels: ours in `ours`, the rest in `theirs`.

    Args:
        package: pinfleet or pinfleet-operator.
        tell: gets a line when something is to be fetched.
    """
    needed = closure(package)
    theirs, ours = sorted(needed - set(_OURS)), sorted(needed & set(_OURS))
    locked = _locked(theirs)
    source = [path.read_bytes() for name in ours for path in sources(_SOURCES[name])]
    target = _cache() / f"{package}-parts-{_hash([locked.encode(), *source])}"
    if not target.exists():
        scratch = target.with_suffix(".new")
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(_fetched(locked, tell), scratch / "theirs")
        for name in ours:
            _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(scratch / "ours"), str(_OURS[name]))
        scratch.rename(target)
    return target


def closure(package: str) -> set[str]:
    """The package and everything that it needs, by the metadata of what is installed here."""
    found: set[str] = set()
    waiting = [(package, frozenset[str]())]
    while waiting:
        name, extras = waiting.pop()
        found.add(name)
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            wanted = [{"extra": extra, "python_version": PYTHON} for extra in (extras or {""})]
            marker = requirement.marker
            if marker is not None and not any(marker.evaluate(each) for each in wanted):
                continue
            needed = canonicalize_name(requirement.name)
            if needed not in found:
                waiting.append((needed, frozenset(requirement.extras)))
    return found


def sources(folder: Path) -> Iterable[Path]:
    """Every source file below, in order."""
    return sorted(path for path in folder.rglob("*") if path.suffix in {".py", ".toml", ".typed"} and path.is_file())


def _locked(names: list[str]) -> str:
    """The lines of the lock for these packages, hashes too."""
    blocks = re.split(r"\n(?=\S)", LOCK.read_text())
    found = {str(canonicalize_name(re.split(r"[\[=]", block)[0])): block for block in blocks if "==" in block}
    return "\n".join(found[name].rstrip() for name in names) + "\n"


def _fetched(locked: str, tell: Tell) -> Path:
    """A folder with these wheels, fetched for the images' Python; none is built."""
    target = _cache() / f"index-{_hash([locked.encode()])}"
    if not target.exists():
        tell(f"fetching the wheels of {locked.count('==')} packages from the package index (about 25 MB)")
        scratch = target.with_suffix(".new")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        wanted = scratch / "requirements.txt"
        wanted.write_text(locked)
        platforms = [f"--platform=manylinux{glibc}_{platform.machine()}" for glibc in _GLIBC]
        python = [f"--python-version={PYTHON}", "--implementation=cp", "--only-binary=:all:"]
        where = ["--require-hashes", "--no-deps", "--dest", str(scratch), "--requirement", str(wanted)]
        _pip("download", *python, *platforms, *where)
        wanted.unlink()
        scratch.rename(target)
    return target


def _cache() -> Path:
    folder = binary.cache_folder() / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _hash(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", arguments[0], "--quiet", "--disable-pip-version-check", *arguments[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"pip {arguments[0]} failed; is a package index reachable?\n{done.stderr.strip()[-2000:]}")
