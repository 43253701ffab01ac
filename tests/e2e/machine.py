"""What of this machine a cluster could leave changed, as sets of lines that can be compared.

Processes are those that a cluster of real pods is made of, and those that live in namespaces of their own; others come
and go by themselves.
"""

import os
import re
import subprocess
import time
from pathlib import Path

_OURS = {"containerd", "containerd-shim", "runc", "kubelet", "kube-proxy", "busybox"}
_SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "net/bridge/bridge-nf-call-iptables",
    "net/netfilter/nf_conntrack_max",
    "vm/overcommit_memory",
    "kernel/panic",
    "kernel/panic_on_oops",
)
REMOVAL_SECONDS = 10.0
_FOLDERS = ("/run", "/run/netns", "/var/lib", "/var/lib/cni", "/opt", "/etc/cni", "/var/log/pods")

Snapshot = dict[str, set[str]]


def snapshot() -> Snapshot:
    """The machine now."""
    return {
        "rules": _rules("iptables-save") | _rules("ip6tables-save"),
        "links": {name.name for name in Path("/sys/class/net").iterdir()},
        "addresses": _lines("ip", "-oneline", "address"),
        "routes": _lines("ip", "route", "show", "table", "all") | _lines("ip", "-6", "route", "show", "table", "all"),
        "policy routes": _lines("ip", "rule"),
        "mounts": {line.split(" - ")[0].split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()},
        "namespaces": _namespaces(),
        "processes": _processes(),
        "control groups": _control_groups(),
        "kernel settings": {f"{name}={_read(Path('/proc/sys') / name)}" for name in _SYSCTLS},
        "folders": {f"{folder}/{name}" for folder in _FOLDERS for name in _names(Path(folder))},
    }


def changes(before: Snapshot, after: Snapshot) -> list[str]:
    """What is there after and was not before, and what is gone; a line each."""
    lines = []
    for kind in before:
        lines += [f"{kind}: left {line}" for line in sorted(after[kind] - before[kind])]
        if kind not in {"processes", "namespaces"}:  # those of others come and go
            lines += [f"{kind}: gone {line}" for line in sorted(before[kind] - after[kind])]
    return lines


def left_of(before: Snapshot) -> list[str]:
    """What is changed since; the kernel takes a moment to remove namespaces."""
    until = time.monotonic() + REMOVAL_SECONDS
    while (found := changes(before, snapshot())) and time.monotonic() < until:
        time.sleep(0.05)
    return found


def _lines(*command: str) -> set[str]:
    """The output of a command without comments, counters and lifetimes."""
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = (re.sub(r"\[\d+:\d+\]|(valid_lft|preferred_lft|expires) \S+", "", line) for line in text.splitlines())
    return {" ".join(line.split()) for line in lines if line and not line.startswith("#")}


def _rules(command: str) -> set[str]:
    """Rules and chains; tables and their own chains come into being by being looked at."""
    return {line for line in _lines(command) if not re.fullmatch(r"\*\w+|COMMIT|:\w+ ACCEPT", line)}


def _pids() -> list[Path]:
    return [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _namespaces() -> set[str]:
    """Network and mount namespaces in which a process lives."""
    found = set()
    for process in _pids():
        for kind in ("net", "mnt"):
            try:
                found.add(os.readlink(process / "ns" / kind))  # noqa: PTH115 - it is no path of a file
            except OSError:
                continue
    return found


def _processes() -> set[str]:
    """Processes of the kinds that a node has, or apart from the machine's own network."""
    ours = os.readlink("/proc/self/ns/net")  # noqa: PTH115 - as above
    found = set()
    for process in _pids():
        try:
            name = (process / "comm").read_text().strip()
            is_apart = os.readlink(process / "ns" / "net") != ours  # noqa: PTH115 - as above
        except OSError:
            continue
        if is_apart or any(name.startswith(each) for each in _OURS):
            found.add(f"{process.name} {name}")
    return found


def _control_groups() -> set[str]:
    return {
        str(path)
        for path in Path("/sys/fs/cgroup").glob("*/*" if Path("/sys/fs/cgroup/cpu").exists() else "*")
        if path.is_dir()
    }


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else "none"
