"""Small parts of the cluster: images, volumes' files, addresses, leases, identities, needs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from localcluster import binary, loopback, needs, processes
from localcluster.errors import NeedMissing
from localcluster.kubelet.addresses import Addresses, address_of
from localcluster.kubelet.images import Images, UnknownImage, parse
from localcluster.kubelet.volumes import File, write_payload
from tests.cluster.kube import until


def test_images_are_relative_to_their_file(tmp_path: Path) -> None:
    """Folders and interpreters are relative to images.yaml; an interpreter's symbolic link is not followed."""
    text = "images: {a: {folder: x/../y, interpreter: venv/bin/python}, b: {folder: /z, command: [run]}}"
    found = parse(text, tmp_path, Path("/default/python"))
    assert (found["a"].folder, found["a"].interpreter) == (tmp_path / "y", tmp_path / "venv/bin/python")
    assert (found["b"].folder, found["b"].interpreter) == (Path("/z"), Path("/default/python"))
    assert found["b"].command == ("run",)


@pytest.mark.parametrize("text", ["", "images: [a]", "images: {a: {}}", "images: {a", "other: {}"])
def test_bad_images_file_says_its_form(text: str, tmp_path: Path) -> None:
    """A file of another form is an error that shows the right one."""
    with pytest.raises(UnknownImage, match=r"its form is images: \{NAME"):
        parse(text, tmp_path, Path("python"))


def test_images_are_read_again(tmp_path: Path) -> None:
    """A changed file counts at once, and one that is not there names no image."""
    file = tmp_path / "images.yaml"
    images = Images(file, Path("python"))
    with pytest.raises(UnknownImage, match="does not name it"):
        images.find("a")
    file.write_text("images: {a: {folder: .}}")
    assert images.find("a").folder == tmp_path
    file.write_text("images: {a: {folder: nowhere}}")
    with pytest.raises(UnknownImage, match="is not there"):
        images.find("a")


def test_files_of_a_volume_change_in_one_step(tmp_path: Path) -> None:
    """Files are replaced through one link, and those that are no more go."""
    assert write_payload(tmp_path, {"a": File(b"1", 0o400), "d/b": File(b"2", 0o644)})
    first = os.readlink(tmp_path / "..data")  # noqa: PTH115 - the bare target
    assert not write_payload(tmp_path, {"a": File(b"1", 0o400), "d/b": File(b"2", 0o644)})
    assert (tmp_path / "a").read_bytes() + (tmp_path / "d/b").read_bytes() == b"12"
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o400
    assert write_payload(tmp_path, {"a": File(b"3", 0o400)})
    assert (tmp_path / "a").read_bytes() == b"3"
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("..")) == ["a"]
    assert not (tmp_path / first).exists()


def test_addresses_go_on_after_a_restart(tmp_path: Path) -> None:
    """No address is given twice, also by a restarted kubelet."""
    first = Addresses(40, tmp_path / "next")
    given = [first.next(), first.next(), Addresses(40, tmp_path / "next").next()]
    assert given == ["127.40.1.1", "127.40.1.2", "127.40.1.3"]
    assert [address_of(40, index) for index in (253, 254, 64_515)] == ["127.40.1.254", "127.40.2.1", "127.40.254.254"]


def test_lease_is_exclusive_and_inherited(tmp_path: Path) -> None:
    """A range is held by whoever inherited the lock, and free again when that process ends."""
    lease = loopback.acquire(tmp_path, 50)
    assert lease.octet == 50
    holder = subprocess.Popen(["/bin/sleep", "60"], pass_fds=(lease.descriptor,))
    os.close(lease.descriptor)
    other = loopback.acquire(tmp_path, 50)
    assert other.octet == loopback.OCTETS.start
    os.close(other.descriptor)
    holder.kill()
    holder.wait()
    again = loopback.acquire(tmp_path, 50)
    assert again.octet == 50
    os.close(again.descriptor)


def test_ports_are_of_the_ranges_own_block() -> None:
    """Ports of two ranges never meet; recorded ones are kept while they are free."""
    names = ("a", "b")
    one, two = loopback.free_ports(200, names, {}), loopback.free_ports(201, names, {})
    assert not set(one.values()) & set(two.values())
    assert loopback.free_ports(200, names, one) == one


def test_identity_is_more_than_a_pid() -> None:
    """A reused pid, another boot and a zombie are not the process that was recorded."""
    child = subprocess.Popen(["/bin/sleep", "60"])
    identity = processes.identify(child.pid)
    assert identity is not None
    assert processes.is_alive(identity)
    assert not processes.is_alive(processes.Identity(child.pid, identity.start_ticks + 1, identity.boot))
    assert not processes.is_alive(processes.Identity(child.pid, identity.start_ticks, "another boot"))
    child.kill()
    assert os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT) is not None
    assert not processes.is_alive(identity)
    child.wait()


def test_threads_outlive_their_leader() -> None:
    """A process whose first thread is a zombie while others run is not gone: it still holds its ports."""
    code = (
        "import ctypes, threading, time\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)"
    )
    child = subprocess.Popen([sys.executable, "-c", code])
    try:
        identity = processes.identify(child.pid)
        until("the leader is a zombie", lambda: ") Z " in Path(f"/proc/{child.pid}/stat").read_text())
        assert processes.is_alive(identity)
    finally:
        child.kill()
        child.wait()
    assert not processes.is_alive(identity)


def test_family_finds_those_who_left() -> None:
    """Processes are found by the exact entry of their environment, in whatever session they are."""
    child = subprocess.Popen(["/bin/sleep", "60"], env={"MARK": "yes"}, start_new_session=True)
    try:
        assert [found.pid for found in processes.family(set(), "MARK=yes")] == [child.pid]
        assert processes.family(set(), "MARK=ye") == []
    finally:
        child.kill()
        child.wait()


def test_unreadable_record_is_no_record(tmp_path: Path) -> None:
    """A record that is missing or cut short counts as none."""
    assert processes.read_identity(tmp_path / "none") is None
    (tmp_path / "cut").write_text('{"pid": 1')
    assert processes.read_identity(tmp_path / "cut") is None


def test_missing_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All needs that are not met are told at once, before anything starts."""
    monkeypatch.setattr("localcluster.needs._RUN_GIGABYTES", 10**6)
    monkeypatch.setattr("localcluster.needs._PACKAGES", {"no_such_module": "no-such-package"})
    with pytest.raises(NeedMissing, match=r"(?s)no-such-package.*1000000 GB of free disk") as problem:
        needs.check(tmp_path, [], lambda _line: None)
    assert str(tmp_path) in str(problem.value)


def test_unwritable_cache_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder that cannot be written is an error that says which variable to set."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(NeedMissing, match="set XDG_CACHE_HOME"):
        binary.check_writable()


def test_first_build_is_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the binary must be built, size and time are told first."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    lines: list[str] = []
    needs.check(tmp_path, [], lines.append)
    assert "7-8 minutes on 2 cores" in "\n".join(lines)


def test_fingerprint_covers_the_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any change of the module or the version is another binary."""
    before = binary.fingerprint()
    assert before == binary.fingerprint()
    for name in ("go.mod", "go.sum", "main.go"):
        (tmp_path / name).write_bytes((binary.SOURCE / name).read_bytes())
    (tmp_path / "main.go").write_text("package main\n")
    monkeypatch.setattr(binary, "SOURCE", tmp_path)
    assert binary.fingerprint() != before


def test_it_shares_nothing_with_the_operator() -> None:
    """Neither the supervisor nor the stand-in kubelet loads the operator or the SDK."""
    code = (
        "import sys, localcluster, localcluster.kubelet.nodes\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('pinfleet', 'pinfleet_operator')])"
    )
    environment = {"PYTHONPATH": str(binary.SOURCE.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "[]\n"
