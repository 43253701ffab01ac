"""The network and mount namespaces of a node, held by one process; made from the host, entered by the components.

Entering is by nsenter: `ip netns exec` would mount /sys anew and hide the control groups of version 1.
"""

import os
import subprocess
from pathlib import Path

from localcluster import processes
from localcluster.errors import ComponentFailed
from localcluster.layout import Layout
from localcluster.node import cgroups
from localcluster.node.names import Names

HOLDER = ["unshare", "--net", "--mount", "--propagation", "private", "sleep", "infinity"]
_COVERED = ("/run", "/var/lib", "/var/log", "/opt")  # where containerd, CNI and the kubelet write at fixed paths
# What the kubelet would set for the whole machine; it writes only what differs, so it is shown what it wants.
_TUNED = {
    "vm/overcommit_memory": "1",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
_INNER_SYSCTLS = {"net/ipv4/ip_forward": "1", "net/bridge/bridge-nf-call-iptables": "1"}
_JOIN = 'for file in $FILES; do echo $$ > "$file" || exit 1; done; exec "$@"'


def run(*command: str, given: Path | None = None) -> str:
    """Run a command; returns what it printed.

    Args:
        command: its words.
        given: a file for its standard input.

    Raises:
        ComponentFailed: it failed; the message is its own.
    """
    with (given or Path(os.devnull)).open("rb") as standard_input:
        done = subprocess.run(command, stdin=standard_input, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ComponentFailed(f"cannot {' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def in_group(names: Names, command: list[str]) -> list[str]:
    """The command, begun in the cluster's control group."""
    files = " ".join(str(path) for path in cgroups.make(names.cgroup))
    return ["/usr/bin/env", f"FILES={files}", "/bin/sh", "-c", _JOIN, "sh", *command]


def entered(layout: Layout, command: list[str]) -> list[str]:
    """The command, run inside the namespaces.

    Raises:
        ComponentFailed: nobody holds them.
    """
    holder = processes.read_identity(layout.identity("sandbox"))
    if holder is None or not processes.is_alive(holder):
        raise ComponentFailed("the sandbox is not there: its process has ended")
    return ["nsenter", f"--target={holder.pid}", "--mount", "--net", "--", *command]


def is_parted(layout: Layout) -> bool:
    """Whether the holder has namespaces of its own by now, and runs what holds them."""
    holder = processes.read_identity(layout.identity("sandbox"))
    try:
        return holder is not None and Path(f"/proc/{holder.pid}/comm").read_text() == "sleep\n"
    except OSError:
        return False


def furnish(layout: Layout, names: Names, keep: list[Path]) -> None:
    """Make links, routes and mounts, as root of the machine and inside.

    Args:
        layout: of the cluster.
        names: of the cluster.
        keep: folders that components use and that must stay visible.
    """
    _mount(layout, keep)
    _link(layout, names)


def _mount(layout: Layout, keep: list[Path]) -> None:
    """Cover what would be written on the host; mounts in here are seen by pods and by nobody else."""
    lines = ["set -e", "mount --make-rshared /"]
    covered = [folder for folder in _COVERED if Path(folder).is_dir()]
    hidden = [path for path in keep if any(path.is_relative_to(folder) for folder in covered)]
    for number, path in enumerate(hidden):
        lines += [f"exec {number + 3}< '{path}'"]
    lines += [f"mount -t tmpfs -o mode=755 pinfleet {folder}" for folder in covered]
    for number, path in enumerate(hidden):
        lines += [f"mkdir -p '{path}'", f"mount --rbind /proc/self/fd/{number + 3} '{path}'"]
    tuned = layout.root / "tuned"
    for name, value in _TUNED.items():
        shown = tuned / name.replace("/", "-")
        shown.parent.mkdir(exist_ok=True)
        shown.write_text(value + "\n")
        lines.append(f"[ ! -e /proc/sys/{name} ] || mount --bind '{shown}' /proc/sys/{name}")
    lines += [f"[ ! -e /proc/sys/{name} ] || echo {value} > /proc/sys/{name}" for name, value in _INNER_SYSCTLS.items()]
    run(*entered(layout, ["/bin/sh", "-c", "\n".join(lines)]))


def _link(layout: Layout, names: Names) -> None:
    """The veth pair and the two routes: the host to the pods, the pods to the host."""
    holder = processes.read_identity(layout.identity("sandbox"))
    assert holder is not None  # noqa: S101 - `entered` was called before
    unlink(names)
    peer = ["peer", "name", names.inner_link, "netns", str(holder.pid)]
    run("ip", "link", "add", names.host_link, "type", "veth", *peer)
    run("ip", "address", "add", f"{names.host_address}/30", "dev", names.host_link)
    run("ip", "link", "set", names.host_link, "up")
    for words in (
        ["link", "set", "lo", "up"],
        ["address", "add", f"{names.node_address}/30", "dev", names.inner_link],
        ["link", "set", names.inner_link, "up"],
        ["route", "add", "default", "via", names.host_address],
    ):
        run(*entered(layout, ["ip", *words]))
    run("ip", "route", "add", names.pods, "via", names.node_address, "dev", names.host_link)


def unlink(names: Names) -> None:
    """Remove the host's end of the pair; its address and route go with it.

    Raises:
        ComponentFailed: it stayed.
    """
    link = Path(f"/sys/class/net/{names.host_link}")
    try:
        if link.exists():
            run("ip", "link", "delete", names.host_link)
    except ComponentFailed:
        if link.exists():  # else the kernel took it at this moment, with the namespace of its other end
            raise
