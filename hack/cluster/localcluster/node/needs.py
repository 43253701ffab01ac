"""What the profile `node` needs of the machine, checked before anything is touched."""

import ipaddress
import json
import os
import shutil
from pathlib import Path

from localcluster.node.sandbox import run

_DEBIAN = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}
_PLUGINS = {"/usr/lib/cni/bridge": "containernetworking-plugins", "/bin/busybox": "busybox-static"}
SIZE = "about 60 MB to fetch, 250 MB of disk"
_RANGES = ("10.250.0.0/16", "10.244.0.0/16")


def lacking(state: Path, nodes: int) -> list[str]:
    """One line per need that is not met, each saying what to do."""
    lines = []
    if os.geteuid() != 0:
        lines.append("the profile `node` needs root: it makes namespaces, mounts and a network link; run it as root")
    if nodes != 1:
        lines.append(f"the profile `node` has one node, not {nodes}")
    if packages := missing_packages():
        lines.append(f"packages are missing: apt-get install --no-install-recommends {' '.join(packages)} ({SIZE})")
    if _is_overlay(state):
        lines.append(f"{state} is on an overlay file system, on which containers cannot be laid: use another --state")
    return lines + _taken_ranges()


def missing_packages() -> list[str]:
    """Debian's names of what is not there."""
    missing = {package for command, package in _DEBIAN.items() if shutil.which(command) is None}
    missing |= {package for path, package in _PLUGINS.items() if not Path(path).exists()}
    return sorted(missing)


def _is_overlay(state: Path) -> bool:
    existing = next(path for path in (state, *state.parents) if path.exists())
    return run("stat", "-f", "-c", "%T", str(existing)).strip() == "overlayfs"


def _taken_ranges() -> list[str]:
    """Routes of the machine into the ranges that the profile uses, other clusters of ours apart."""
    if shutil.which("ip") is None:
        return []
    ours = [ipaddress.ip_network(each) for each in _RANGES]
    lines = []
    for route in json.loads(run("ip", "-json", "-4", "route") or "[]"):
        target = route.get("dst", "default")
        if target == "default" or str(route.get("dev", "")).startswith("pinfleet-"):
            continue
        if any(ipaddress.ip_network(target, strict=False).overlaps(each) for each in ours):
            lines.append(f"the route {target} dev {route['dev']} overlaps {' and '.join(_RANGES)}, which it uses")
    return lines
