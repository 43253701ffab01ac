"""The same rules on real pods: `make e2e` runs the tests marked `any_kubelet` on the cluster that its own suite has."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from hack import images
from localcluster import Cluster

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster of profile `node` with the images."""
    made = Cluster(ROOT / ".e2e" / "contract", profile="node")
    try:
        made.up(images=images.Builder(lambda _line: None).archive())
        yield made
    finally:
        made.down()


def pid(pod_uid: str) -> int:
    """The process of a pod's container that runs Python, found by its control group.

    Raises:
        LookupError: there is none.
    """
    for process in Path("/proc").iterdir():
        try:
            if f"pod{pod_uid}" in (process / "cgroup").read_text() and b"python" in (process / "cmdline").read_bytes():
                return int(process.name)
        except OSError:
            continue
    raise LookupError(f"no process of pod {pod_uid}")
