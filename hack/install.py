"""Makes .venv with everything that pinfleet's commands need; run by `make install`, with the standard library alone."""

import hashlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
STAMP = VENV / "installed"
NEEDED_BYTES = 1_000_000_000


def main() -> None:
    """Install once per lock file; a second call is a no-op."""
    wanted = fingerprint()
    if STAMP.exists() and STAMP.read_text() == wanted:
        return
    check_needs()
    began = time.monotonic()
    print("installing the Python packages of requirements.lock into .venv (about 0.5 GB, under a minute)", flush=True)
    if not (VENV / "bin" / "python").exists():
        make_venv()
    pip("--require-hashes", "-r", str(LOCK))
    pip("--no-deps", "--no-build-isolation", "-e", str(ROOT / "sdk"), "-e", str(ROOT))
    STAMP.write_text(wanted)
    print(f"installed in {time.monotonic() - began:.0f} s", flush=True)


def fingerprint() -> str:
    """What the installation depends on: lock, project files, interpreter, place."""
    digest = hashlib.sha256(f"{sys.version}{ROOT}".encode())
    for path in (LOCK, ROOT / "pyproject.toml", ROOT / "sdk" / "pyproject.toml"):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def check_needs() -> None:
    """Say what is missing before anything is begun."""
    free = shutil.disk_usage(ROOT).free
    if free < NEEDED_BYTES:
        sys.exit(f"not enough disk space in {ROOT}: {free / 1e9:.1f} GB free, {NEEDED_BYTES / 1e9:.0f} GB needed")


def make_venv() -> None:
    """Make the virtual environment, or say which system package is missing."""
    made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        sys.exit(
            f"cannot make a virtual environment: {made.stdout}{made.stderr}\n"
            "On Debian and Ubuntu it needs: apt-get install python3-venv"
        )


def pip(*arguments: str) -> None:
    """Run pip quietly; its own words are shown if it fails."""
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*command, *arguments], check=False)
    if done.returncode != 0:
        sys.exit("pip failed; its message above says why. Is a package index reachable? Then run the command again.")


if __name__ == "__main__":
    main()
