"""What an earlier kubelet left: pods that are no more are ended, and so is every process that no record knows."""

import os
import shutil
import signal
from pathlib import Path

from localcluster import processes
from localcluster.kubelet.records import Record
from localcluster.layout import Layout, pod_marker


def end_strangers(layout: Layout) -> None:
    """Kill pod processes that belong to no recorded, running execution (the kubelet died between start and record)."""
    known = {
        Record.load(path.with_suffix(".json")).container_id
        for path in layout.pods.glob("*/*.identity")
        if processes.is_alive(processes.read_identity(path))
    }
    for identity in processes.family(set(), pod_marker(layout.root)):
        if _container_of(identity.pid) not in known:
            processes.send(identity, signal.SIGKILL)


def end_absent(layout: Layout, present: set[str]) -> None:
    """Kill the processes of pods that are not there any more, and remove their folders."""
    for folder in layout.pods.iterdir():
        if folder.name in present:
            continue
        for path in folder.glob("*.identity"):
            if identity := processes.read_identity(path):
                processes.end(identity, grace_seconds=0)
        shutil.rmtree(folder, ignore_errors=True)


def _container_of(pid: int) -> str:
    """The container id in a process's environment; empty when there is none."""
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    name = b"LOCALCLUSTER_CONTAINER="
    return next((os.fsdecode(entry[len(name) :]) for entry in entries if entry.startswith(name)), "")
