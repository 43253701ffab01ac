"""A cluster comes up whole or not at all, and goes without a trace."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster import Cluster, LocalClusterError, binary, processes
from localcluster.errors import ComponentFailed
from localcluster.layout import pod_marker
from tests.cluster.conftest import IMAGE
from tests.cluster.kube import Kube

pytestmark = pytest.mark.cluster


@pytest.fixture
def other(tmp_path: Path, images: Path) -> Iterator[Cluster]:
    """A second cluster, of one node."""
    made = Cluster(tmp_path / "other")
    made.up(images=images, nodes=1)
    yield made
    made.down()
    shutil.rmtree(tmp_path / "other")


def _identities(cluster: Cluster) -> dict[str, processes.Identity | None]:
    return {name: processes.read_identity(cluster.layout.identity(name)) for name in cluster.components}


def test_up_twice_changes_nothing(cluster: Cluster) -> None:
    """A second `up` of a whole cluster starts nothing."""
    before = _identities(cluster)
    cluster.up()
    assert _identities(cluster) == before


def test_another_number_of_nodes_is_refused(cluster: Cluster) -> None:
    """A running cluster does not change its number of nodes; the message says what to do."""
    with pytest.raises(LocalClusterError, match="run down first"):
        cluster.up(nodes=3)


def test_two_copies_rebuilt_and_ended(cluster: Cluster, other: Cluster) -> None:
    """Copies do not meet; one whose etcd died is made anew by `up`; `down` ends its pods and nothing of others."""
    first = _identities(cluster)
    assert other.facts.octet != cluster.facts.octet
    assert not set(other.facts.ports.values()) & set(cluster.facts.ports.values())
    Kube(other, "default").create("configmaps", {"metadata": {"name": "old"}})
    processes.send(_identities(other)["etcd"] or pytest.fail("no etcd"), signal.SIGKILL)
    processes.wait_gone(_identities(other)["etcd"] or pytest.fail("no etcd"), 5)
    assert other.problems() == ["etcd is not running"]
    other.up(nodes=1)
    assert other.problems() == []
    kube = Kube(other, "default")
    assert kube.get("configmaps/old") is None
    agent = {"name": "agent", "image": IMAGE, "command": ["python", "agent.py", "stubborn"]}
    kube.create("pods", {"metadata": {"name": "pod"}, "spec": {"containers": [agent]}})
    kube.wait_ready("pod")
    assert processes.family(set(), pod_marker(other.layout.root))
    other.down()
    assert processes.family(set(), pod_marker(other.layout.root)) == []
    assert not any(processes.is_alive(identity) for identity in _identities(other).values())
    assert _identities(cluster) == first
    assert cluster.problems() == []


def test_failed_up_leaves_nothing(tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An `up` that fails half way ends what it started and names the log."""
    made = Cluster(tmp_path / "broken")
    monkeypatch.setattr("localcluster.components._scheduler", lambda _layout, _facts: ["--no-such-flag"])
    with pytest.raises(ComponentFailed, match="kube-scheduler") as failure:
        made.up(images=images)
    assert "no-such-flag" in str(failure.value)
    assert not any(_identities(made).values())


def test_command_line(cluster: Cluster) -> None:
    """`status` answers 0 for a whole cluster; `env` prints exports with which kubectl works."""
    command = [sys.executable, "-m", "localcluster", "--state", str(cluster.layout.root)]
    environment = {"PYTHONPATH": str(binary.SOURCE.parent), "PATH": "/usr/bin:/bin", "HOME": str(Path.home())}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *words], capture_output=True, text=True, env=environment, check=False)

    status = run("status")
    assert (status.returncode, status.stderr) == (0, "")
    script = f'{run("env").stdout}\nkubectl get nodes -o name; echo "$PINFLEET_AUDIT_LOG"'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == ["node/node-1", "node/node-2", str(cluster.audit_log)]


def test_status_of_nothing(tmp_path: Path) -> None:
    """`status` of a folder without a cluster says so and fails."""
    assert Cluster(tmp_path).problems() == ["there was no up"]
