"""`make e2e`: the suite with real pods; CLUSTER=node (the default) makes its own cluster, as root, on this machine.

Arguments replace what is listed here. It installs by apt-get what profile `node` lacks, after saying so.
"""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from localcluster import LocalClusterError
from tests.e2e import machine, place

ROOT = Path(__file__).resolve().parent.parent
PYTEST = [sys.executable, "-m", "pytest", "--timeout", "600", "-v"]  # an image may have to start on a slow machine
MACHINE = "tests/e2e/test_node_machine.py"  # by itself: a cluster that works beside it would change the machine, too
STORY = ("the story with real pods", ["tests/e2e", f"--ignore={MACHINE}"])
ON_NODE = (
    ("what a cluster leaves on this machine", [MACHINE]),
    STORY,
    ("the rules that the stand-in kubelet is tested by, on a real one", ["-m", "any_kubelet", "tests/cluster"]),
)


def main() -> int:
    """Run every part; the first exit code that is not 0."""
    try:
        is_node = place.chosen() == "node"
        if is_node:
            place.install_packages(lambda line: print(line, flush=True))
    except LocalClusterError as err:
        print(f"make e2e cannot run: {err}", file=sys.stderr)
        return 2
    if sys.argv[1:]:
        return run(sys.argv[1:], dict(os.environ))
    if not is_node:
        return run_parts((STORY,), dict(os.environ))
    before = machine.snapshot()
    code = run_parts(ON_NODE, os.environ | {"PINFLEET_PROFILE": "node"})
    left = machine.left_of(before)
    print("\n".join(["", "left on this machine after all of it:", *(left or ["nothing"])]))
    return code or int(bool(left))


def run_parts(parts: tuple[tuple[str, list[str]], ...], environment: dict[str, str]) -> int:
    """Run some parts, whatever comes of each; the first exit code that is not 0."""
    codes = []
    for title, arguments in parts:
        print(f"\n{title}:", flush=True)
        codes.append(run(arguments, environment))
    return next((code for code in codes if code), 0)


def run(arguments: list[str], environment: dict[str, str]) -> int:
    """One run of pytest; its exit code."""
    return subprocess.run([*PYTEST, *arguments], cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
