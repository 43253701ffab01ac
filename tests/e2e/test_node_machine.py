"""A cluster of profile `node` leaves the machine as it found it: twice in a row, after a crash, after `down`."""

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hack.stage import Json
from localcluster import Cluster, LocalClusterError, processes
from localcluster.node import cgroups
from localcluster.node.names import Names
from localcluster.node.pause import PAUSE_IMAGE
from tests.cluster.kube import Kube, until
from tests.e2e.machine import changes, left_of, snapshot


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster beside the session's, down."""
    made = Cluster(tmp_path / "c", profile="node")
    yield made
    made.down()
    shutil.rmtree(tmp_path / "c", ignore_errors=True)


def with_a_pod(cluster: Cluster) -> Kube:
    """A pod with a claim and a Secret's mount, and a Service, run in it."""
    kube = Kube(cluster, "default")
    kube.create("secrets", {"metadata": {"name": "secret"}, "stringData": {"a": "b"}})
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    kube.create("persistentvolumeclaims", {"metadata": {"name": "claim"}, "spec": claim})
    kube.create("services", {"metadata": {"name": "web"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}})
    mounts = [{"name": "data", "mountPath": "/data"}, {"name": "secret", "mountPath": "/secret"}]
    container: Json = {"name": "agent", "image": PAUSE_IMAGE, "volumeMounts": mounts}
    volumes: list[Json] = [
        {"name": "data", "persistentVolumeClaim": {"claimName": "claim"}},
        {"name": "secret", "secret": {"secretName": "secret"}},
    ]
    meta = {"name": "pod", "labels": {"a": "b"}}
    kube.create("pods", {"metadata": meta, "spec": {"containers": [container], "volumes": volumes}})
    kube.wait("pod", "the pod is Ready", lambda pod: pod["status"].get("phase") == "Running", 60)
    return kube


def test_down_leaves_nothing(other: Cluster) -> None:
    """After `up`, a second `up`, a pod and `down`, the machine is as before; once more in a row, too."""
    before = snapshot()
    for _ in range(2):
        other.up()
        first = {name: processes.read_identity(other.layout.identity(name)) for name in other.components}
        other.up()
        assert {name: processes.read_identity(other.layout.identity(name)) for name in other.components} == first
        with_a_pod(other)
        assert changes(before, snapshot()) != []
        other.down()
        assert left_of(before) == []


def test_a_crash_leaves_nothing(other: Cluster) -> None:
    """Components killed with pods running: `up` makes a whole cluster of it; killed again, `down` leaves nothing."""
    before = snapshot()
    other.up()
    with_a_pod(other)
    for name in ("containerd", "kubelet", "sandbox"):
        processes.send(processes.read_identity(other.layout.identity(name)) or pytest.fail(name), signal.SIGKILL)
    until("it is not whole", other.problems, 10)
    other.up()
    assert other.problems() == []
    assert with_a_pod(other).get("pods/pod")
    for name in other.components:
        processes.send(processes.read_identity(other.layout.identity(name)) or pytest.fail(name), signal.SIGKILL)
    assert cgroups.members(Names.of(other.facts).cgroup), "the pod's processes outlive the components"
    other.down()
    assert left_of(before) == []


def test_a_failed_up_leaves_nothing(other: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """An `up` that fails half way ends what it started and takes away what it made."""
    before = snapshot()
    monkeypatch.setattr("localcluster.node.settings.BRIDGE", "x")
    monkeypatch.setattr("localcluster.node.settings._kubelet", lambda _layout, _names: {"kind": "None"})
    with pytest.raises(LocalClusterError, match="cannot start kubelet"):
        other.up()
    assert left_of(before) == []


@contextlib.contextmanager
def ran(make: str, undo: str) -> Iterator[None]:
    """Something that is left on the machine for the length of a block."""
    subprocess.run(["/bin/sh", "-ec", make], check=True)
    try:
        yield
    finally:
        subprocess.run(["/bin/sh", "-ec", undo], check=True)


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """A process in a network namespace of its own."""
    process = subprocess.Popen(["/usr/bin/unshare", "--net", "sleep", "60"])
    try:
        until("it is apart", lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n", 10)
        yield
    finally:
        process.kill()
        process.wait()


LEFT: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
    "links": lambda: ran("ip link add e2e-left type veth peer name e2e-peer", "ip link delete e2e-left"),
    "addresses": lambda: ran("ip address add 127.9.9.9/32 dev lo", "ip address delete 127.9.9.9/32 dev lo"),
    "routes": lambda: ran("ip route add 198.51.100.0/24 dev lo", "ip route delete 198.51.100.0/24 dev lo"),
    "rules": lambda: ran("iptables -t nat -N E2E-LEFT", "iptables -t nat -X E2E-LEFT"),
    "mounts": lambda: ran(
        "mkdir /tmp/e2e-left; mount -t tmpfs x /tmp/e2e-left", "umount /tmp/e2e-left; rmdir /tmp/e2e-left"
    ),
    "namespaces": apart,
    "processes": apart,
    "control groups": lambda: ran(
        f"mkdir {cgroups.hierarchies()[0]}/e2e-left", f"rmdir {cgroups.hierarchies()[0]}/e2e-left"
    ),
    "folders": lambda: ran("mkdir /opt/e2e-left", "rmdir /opt/e2e-left"),
}


@pytest.mark.parametrize("kind", LEFT)
def test_the_comparison_sees_what_is_left(kind: str) -> None:
    """Negative control: one thing of each kind is left, and the comparison names it."""
    before = snapshot()
    with LEFT[kind]():
        assert [line for line in changes(before, snapshot()) if line.startswith(f"{kind}: left")]
    assert [line for line in changes(before, snapshot()) if line.startswith(kind)] == []
