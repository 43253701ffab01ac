"""`retire`: 50 fleets go from v1 to v2, one after the other; then every run ends at once.

How long after the promotion does the first run get the new version, where one is created every 50 ms? And how long
after the last end of an old version's runs is written is the deletion of its last pod asked for?
"""

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec

from bench.admin import MERGE
from bench.measure import Audit, wait_for, wait_quiet
from bench.report import Row, save
from bench.switches import Job, Seen
from bench.world import ACCOUNT, API, BARE, PORT, World, run_manifest, runs_path, write_bare

NAMESPACE = "switching"
SLOTS = 200  # of each pod: more runs than a fleet gets while it is switched
CREATE_SECONDS, AFTER_SECONDS = 0.05, 0.5  # between creations; for how long they go on after the promotion
RETIRE_SECONDS, PROMOTE_SECONDS = 2.0, 0.3
PATCHES = 200  # of which one takes the unit
OLD, NEW = "v1", "v2"


def fleet(name: str, version: str) -> dict[str, Any]:
    """A fleet of one hollow pod."""
    container = {"name": "agent", "image": f"registry.local/hollow:{version}"}
    spec = {
        "version": version,
        "replicas": 1,
        "maxReplicas": 1,
        "runsPerPod": SLOTS,
        "port": PORT,
        "template": {"spec": {"nodeSelector": {"bench": "hollow"}, "containers": [container]}},
    }
    kind = {"apiVersion": "pinfleet.dev/v1alpha1", "kind": "AgentDeployment"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


class Fleets:
    """The fleets of this bench, and what is done to them."""

    def __init__(self, world: World, n: int) -> None:
        self.names = [f"f{i:02d}" for i in range(n)]
        self._world = world
        self._path = f"{API}/{NAMESPACE}/agentdeployments"
        self._numbers = itertools.count()

    def create(self) -> None:
        """Every fleet on the old version, active."""
        for name in self.names:
            self._world.admin.ask("POST", self._path, fleet(name, OLD))
        wait_for("every fleet to be active", lambda: all(v == OLD for v in self.active().values()), 120)

    def active(self) -> dict[str, str]:
        """The active version of each fleet; brings up pods that are new."""
        self._world.node.run_pods(NAMESPACE, self._world.hollow, PORT, SLOTS)
        found = self._world.admin.ask("GET", self._path)["items"]
        return {each["metadata"]["name"]: each.get("status", {}).get("activeVersion", "") for each in found}

    def switch(self, name: str) -> None:
        """One fleet to the new version, while runs of it are created."""
        with self._creating(name):
            wait_for("a run on the old version", lambda: self._is_served(name, OLD), 30)
            self._world.admin.ask("PATCH", f"{self._path}/{name}", {"spec": fleet(name, NEW)["spec"]}, MERGE)
            wait_for(f"fleet {name} to be switched", lambda: self.active()[name] == NEW, 60, pause=0.05)
            time.sleep(AFTER_SECONDS)
        wait_for("a run on the new version", lambda: self._is_served(name, NEW), 30)

    def _is_served(self, name: str, version: str) -> bool:
        selector = f"spec.task.agentDeployment%3D{name},status.version%3D{version}"
        return bool(self._world.admin.ask("GET", f"{runs_path(NAMESPACE)}?limit=1&fieldSelector={selector}")["items"])

    @contextmanager
    def _creating(self, name: str) -> Iterator[None]:
        """A run of the fleet every 50 ms, for the length of a block."""
        stopping = threading.Event()

        def create() -> None:
            while not stopping.wait(CREATE_SECONDS):
                run = run_manifest(f"{name}-{next(self._numbers):05d}", name)
                self._world.admin.ask("POST", runs_path(NAMESPACE), run)

        thread = threading.Thread(target=create)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()


@contextmanager
def watching(world: World) -> Iterator[Callable[[], Seen]]:
    """A watcher for the length of a block; afterwards what is given tells what it saw."""
    file = world.state / "switches.json"
    paths = f"{API}/{NAMESPACE}/agentdeployments", runs_path(NAMESPACE)
    file.write_bytes(msgspec.json.encode(Job(world.admin.target, *paths)))
    command = [sys.executable, "-m", "bench.switches", str(file)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    told: list[str] = []
    try:
        yield lambda: msgspec.json.decode(told[0], type=Seen)
        told.append(process.communicate(timeout=30)[0])
    finally:
        process.kill()
        process.wait()


def retirements(audit: Audit, runs: list[dict[str, Any]], names: list[str]) -> list[float]:
    """Seconds from the last end written of each fleet's old version to the last request to delete a pod of it."""
    fleet_of = {
        run["metadata"]["name"]: run["spec"]["task"]["agentDeployment"]
        for run in runs
        if run["status"]["version"] == OLD
    }
    ended: dict[str, datetime] = {}
    for event in audit.events(NAMESPACE):
        name = fleet_of.get(event.object_ref.name)
        if name is not None and event.verb == "patch" and event.is_ok:
            ended[name] = max(event.stage_timestamp, ended.get(name, event.stage_timestamp))
    deleted: dict[str, datetime] = {}
    for event in audit.events(NAMESPACE, "pods"):
        if event.verb == "delete" and event.user.username == ACCOUNT and event.is_ok:
            name = event.object_ref.name.partition("-")[0]
            deleted[name] = max(event.request_received_timestamp, deleted.get(name, event.request_received_timestamp))
    assert ended.keys() == deleted.keys() == set(names), (len(ended), len(deleted))
    return [(deleted[name] - ended[name]).total_seconds() for name in names]


def patch_seconds(world: World) -> float:
    """How long one bare PATCH of a status takes, one after the other."""
    world.create_runs(BARE, PATCHES)
    unit = write_bare(world, world.assignments(BARE), connections=1)
    world.delete_runs(BARE)
    return 1 / float(unit["per_second"])


def main(world: World) -> bool:
    """Run the bench; returns whether both goals are met."""
    fleets = Fleets(world, int(os.environ.get("BENCH_FLEETS", "50")))
    world.stage.kubectl("create", "namespace", NAMESPACE)
    with world.operator() as operator:
        fleets.create()
        wait_quiet(operator.pid)
        audit = world.audit()
        with watching(world) as seen:
            for name in fleets.names:
                fleets.switch(name)
        world.hollow.do("finish")
        wait_for("every run to be acked", lambda: world.hollow.count() == 0, 120)
        wait_for("every old pod to go", lambda: len(leaving(world)) == len(fleets.names), 60)
    runs = world.runs(NAMESPACE)
    assert {run["status"]["phase"] for run in runs} == {"Succeeded"}
    gone = retirements(audit, runs, fleets.names)
    served = [seen().first_run[f"{name}/{NEW}"] - seen().promoted[f"{name}/{NEW}"] for name in fleets.names]
    unit = patch_seconds(world)
    size = f"{len(fleets.names)} fleets, {len(runs)} runs"
    rows = [
        at_most("last end written to last pod's deletion, longest", max(gone), RETIRE_SECONDS, size),
        at_most("promotion to first run on the new version, longest", max(served), PROMOTE_SECONDS, size),
        Row("the former in bare PATCHes", max(gone) / unit, "PATCHes", n=f"of {1000 * unit:.1f} ms"),
        Row("the latter in bare PATCHes", max(served) / unit, "PATCHes", n=f"of {1000 * unit:.1f} ms"),
    ]
    save("retire", rows, world.facts(), [{"deletion_seconds": gone, "first_run_seconds": served}])
    return all(row.met is not False for row in rows)


def leaving(world: World) -> list[str]:
    """Names of the pods whose deletion was asked for; without a kubelet they stay."""
    pods = world.admin.ask("GET", f"/api/v1/namespaces/{NAMESPACE}/pods")["items"]
    return [pod["metadata"]["name"] for pod in pods if "deletionTimestamp" in pod["metadata"]]


def at_most(name: str, value: float, limit: float, n: str) -> Row:
    """A time that has a limit."""
    return Row(name, value, "s", limit, value / limit, "ratio <= 1", value <= limit, n)
