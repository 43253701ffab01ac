"""What the profile `node` says before it does anything, and what it makes by itself; no root is needed for these."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from localcluster import LocalClusterError
from localcluster.node import needs, pause
from localcluster.node.names import Names
from tests.e2e import place


def test_needs_are_told_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root, without packages or with too many nodes, each need says what to do."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("localcluster.node.needs._is_overlay", lambda _state: False)
    lines = "\n".join(needs.lacking(tmp_path, 2))
    assert "needs root" in lines
    assert "one node, not 2" in lines
    assert "apt-get install --no-install-recommends conntrack containerd" in lines


@pytest.mark.parametrize(
    ("route", "is_refused"),
    [
        ({"dst": "10.250.32.0/24", "dev": "eth1"}, True),
        ({"dst": "10.0.0.0/8", "dev": "eth1"}, True),
        ({"dst": "10.244.32.0/24", "dev": "pinfleet-32"}, False),
        ({"dst": "default", "dev": "eth0"}, False),
        ({"dst": "192.0.2.0/24", "dev": "eth0"}, False),
    ],
)
def test_a_route_into_its_ranges_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, route: dict[str, str], *, is_refused: bool
) -> None:
    """A machine whose own network uses the profile's addresses is left alone; other clusters of ours do not count."""
    monkeypatch.setattr("localcluster.node.needs.run", lambda *_: json.dumps([route]))
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/it")
    refused = [line for line in needs.lacking(tmp_path, 1) if route["dst"] in line]
    assert is_refused == bool(refused)


def test_no_two_clusters_share_a_name() -> None:
    """Links, addresses and control groups differ by the leased octet; a link has a name that Linux takes."""
    one, other = Names(32), Names(231)
    kinds = ("host_link", "host_address", "node_address", "pods", "cgroup")
    assert all(getattr(one, kind) != getattr(other, kind) for kind in kinds)
    assert len(other.host_link) <= 15


def test_the_pause_image_is_a_whole_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its manifest names a configuration and a layer that are in it, and the layer holds the program that it starts."""
    program = tmp_path / "busybox"
    program.write_bytes(b"program")
    monkeypatch.setattr(pause, "BUSYBOX", program)
    pause.write(tmp_path / "pause.tar")
    with tarfile.open(tmp_path / "pause.tar") as archive:

        def content(name: str) -> bytes:
            return (archive.extractfile(name) or io.BytesIO()).read()

        (manifest,) = json.loads(content("manifest.json"))
        config = json.loads(content(manifest["Config"]))
        with tarfile.open(fileobj=io.BytesIO(content(manifest["Layers"][0]))) as layer:
            assert "bin/busybox" in layer.getnames()
    assert manifest["RepoTags"] == [pause.PAUSE_IMAGE]
    assert config["config"]["Entrypoint"][0] == "/bin/busybox"


def test_make_e2e_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not root: it stops at once, and names the places that need none; a place that there is not is refused by name."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LocalClusterError, match=r"needs root.*CLUSTER=kind or CLUSTER=current"):
        place.install_packages(lambda _line: None)
    with pytest.raises(LocalClusterError, match="CLUSTER=moon is none of node, kind, current"):
        place.chosen({"CLUSTER": "moon"})
    assert place.chosen({}) == "node"
