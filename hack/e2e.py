"""`make e2e`: the suite with real pods; CLUSTER=node (the default) makes its own cluster, as root, on this machine.

Arguments go to pytest. It installs by apt-get what profile `node` lacks, after saying so.
"""

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from localcluster import LocalClusterError
from tests.e2e import place

ROOT = Path(__file__).resolve().parent.parent
INTERRUPTED = 2  # pytest's code, also of a machine that lacks something
SECONDS = "600"  # for one test: an image may have to start on a slow machine


def main() -> int:
    """Run the suite; its exit code."""
    try:
        is_node = place.chosen() == "node"
        if is_node:
            place.install_packages(lambda line: print(line, flush=True))
    except LocalClusterError as err:
        print(f"make e2e cannot run: {err}", file=sys.stderr)
        return 2
    pytest = [sys.executable, "-m", "pytest", "--timeout", SECONDS, "-v"]
    code = subprocess.run([*pytest, *(sys.argv[1:] or ["tests/e2e"])], cwd=ROOT, check=False).returncode
    if not is_node or sys.argv[1:] or code == INTERRUPTED:
        return code
    print("\nthe rules that the stand-in kubelet is tested by, on a real one:", flush=True)
    environment = os.environ | {"PINFLEET_PROFILE": "node"}
    contract = [*pytest, "-m", "any_kubelet", "tests/cluster"]
    contract_code = subprocess.run(contract, cwd=ROOT, env=environment, check=False).returncode
    return code or contract_code


if __name__ == "__main__":
    sys.exit(main())
