"""Writes requirements.lock: every package of the two pyproject.toml files, pinned with its hashes; run by `make lock`.

Pins that stand in the lock stay, unless a pyproject.toml asks for another version.
"""

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
UV = "uv==0.13.9"  # resolves for all platforms at once, and keeps the pins that are there
OWN = ("pinfleet==", "pinfleet[")


def requirements() -> list[str]:
    """What the operator, the SDK with its extras, and development need, our own packages left out."""
    operator = tomllib.loads((ROOT / "pyproject.toml").read_text())
    sdk = tomllib.loads((ROOT / "sdk" / "pyproject.toml").read_text())["project"]
    extras = [line for lines in sdk.get("optional-dependencies", {}).values() for line in lines]
    wanted = [
        *operator["project"]["dependencies"],
        *operator["dependency-groups"]["dev"],
        *sdk.get("dependencies", []),
        *extras,
    ]
    return sorted({line for line in wanted if not line.startswith(OWN)})


def main() -> None:
    """Resolve and write."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--target", folder, UV], check=True)
        source = Path(folder) / "requirements.in"
        source.write_text("\n".join(requirements()) + "\n")
        words = [str(Path(folder) / "bin" / "uv"), "pip", "compile", "--quiet", "--universal", "--generate-hashes"]
        words += ["--no-header", "--no-annotate", "--python-version", "3.11", "--output-file", str(LOCK), str(source)]
        subprocess.run(words, check=True)


if __name__ == "__main__":
    main()
