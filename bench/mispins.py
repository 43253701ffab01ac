"""`mispins`: a fleet is switched 20 times while runs are created all the time; its leader is killed twice.

A run that was created after a promotion has the promoted version, or one that came later: by the resourceVersions of
both, not by any clock. Runs are created before, during and after each switch, and while nobody leads.
"""

import http.client
import itertools
import json
import os
import threading
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from bench.admin import MERGE, Admin, Json
from bench.measure import wait_for
from bench.report import Row, save
from bench.world import API, PORT, World, run_manifest, runs_path
from hack.stage import OperatorProcess

NAMESPACE, FLEET = "mispins", "switched"
PODS, SLOTS = 5, 200  # of each version; room for what is created while nobody leads
CREATE_SECONDS = 0.004
AFTER = 50  # runs that are created after a promotion was seen, at least


@dataclass(frozen=True)
class Promote:
    """One write of ``status.activeVersion``."""

    rv: int  # resourceVersion of the fleet with it
    version: int


@dataclass(frozen=True)
class Made:
    """A run."""

    name: str
    rv: int  # resourceVersion of its creation
    version: int  # that it was pinned to; 0: none


def mispins(promotes: list[Promote], runs: list[Made]) -> list[str]:
    """Runs with an older version than the one that was active when they were created."""
    rvs = [promote.rv for promote in promotes]
    found = []
    for run in runs:
        before = promotes[: bisect_left(rvs, run.rv)]
        if before and run.version < before[-1].version:
            newest = before[-1]
            found.append(f"{run.name}: created at {run.rv}, on v{run.version}; v{newest.version} at {newest.rv}")
    return found


class Switching:
    """The fleet, its runs, and its two operators."""

    def __init__(self, world: World) -> None:
        self._world, self._creator = world, Admin(world.stage.cluster)
        self._path = f"{API}/{NAMESPACE}/agentdeployments"
        self._numbers, self._names = itertools.count(), (f"candidate-{i}" for i in itertools.count())
        self.created: dict[str, int] = {}  # name -> resourceVersion
        self.promotes: list[Promote] = []
        self._leader: OperatorProcess = world.stage.start_operator(next(self._names))
        self._standby: OperatorProcess

    def begin(self) -> None:
        """The fleet on its first version, and a standby."""
        self._world.admin.ask("POST", self._path, manifest(1))
        self._await_version(1)
        self._standby = self._world.stage.start_operator(next(self._names))

    def switch(self, version: int, runs: int, *, is_killed: bool) -> None:
        """To a version, while at least so many runs are created; the leader may be killed in between."""
        with self._creating(runs):
            half = len(self.created) + runs // 2
            wait_for("half of the runs", lambda: len(self.created) >= half, 120)
            self._world.admin.ask("PATCH", f"{self._path}/{FLEET}", {"spec": manifest(version)["spec"]}, MERGE)
            if is_killed:
                self._leader.kill()
                self._leader = self._standby
            self._await_version(version)
            enough = len(self.created) + AFTER
            wait_for("runs after the promotion", lambda: len(self.created) >= enough, 60)
        if is_killed:
            self._standby = self._world.stage.start_operator(next(self._names))
        self._world.hollow.do("finish")

    def end(self) -> None:
        """Let every run end, and every operator."""
        wait_for("every run to be pinned", lambda: not self.unpinned(), 120, pause=1.0)
        self._standby.stop()
        self._leader.stop()

    def unpinned(self) -> bool:
        """Whether some run waits for a pod."""
        self._tend_pods()
        self._world.hollow.do("finish")
        path = f"{runs_path(NAMESPACE)}?limit=1&fieldSelector=status.phase%3DPending"
        return bool(self._world.admin.ask("GET", path)["items"])

    def runs(self) -> list[Made]:
        """Every run as it ended."""
        found = self._world.runs(NAMESPACE)
        assert len(found) == len(self.created), f"{len(found)} of {len(self.created)} runs are there"
        names = {run["metadata"]["name"]: run["status"].get("version", "v0") for run in found}
        return [Made(name, rv, int(names[name].removeprefix("v"))) for name, rv in self.created.items()]

    # What goes on meanwhile

    def _await_version(self, version: int) -> None:
        def is_active() -> bool:
            self._tend_pods()
            return bool(self.promotes) and self.promotes[-1].version == version

        wait_for(f"v{version} to be active", is_active, 180, pause=0.2)

    def _tend_pods(self) -> None:
        """What a kubelet does: new pods run, and those that are to go are gone."""
        self._world.node.run_pods(NAMESPACE, self._world.hollow, PORT, SLOTS)
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        for pod in self._world.admin.ask("GET", path)["items"]:
            if "deletionTimestamp" in pod["metadata"]:
                self._world.admin.ask("DELETE", f"{path}/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})

    @contextmanager
    def _creating(self, least: int) -> Iterator[None]:
        """Runs, one after the other, for the length of a block and until there are enough."""
        stopping, until = threading.Event(), len(self.created) + least

        def create() -> None:
            while len(self.created) < until or not stopping.is_set():
                name = f"run-{next(self._numbers):05d}"
                made = self._creator.ask("POST", runs_path(NAMESPACE), run_manifest(name, FLEET))
                self.created[name] = int(made["metadata"]["resourceVersion"])
                stopping.wait(CREATE_SECONDS)

        thread = threading.Thread(target=create)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note every promotion, for the length of a block."""
        listed = self._creator.ask("GET", self._path)["metadata"]["resourceVersion"]
        target = self._creator.target
        connection = http.client.HTTPSConnection(target.host, target.port, context=target.ssl_context())
        connection.request("GET", f"{self._path}?watch=true&resourceVersion={listed}")
        answer = connection.getresponse()

        def follow() -> None:
            with suppress(OSError, ValueError, http.client.HTTPException):  # the block has ended
                for line in answer:
                    self._note(json.loads(line)["object"])

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            if connection.sock is not None:
                connection.sock.shutdown(2)
            thread.join(timeout=10)

    def _note(self, fleet: Json) -> None:
        active = int(fleet.get("status", {}).get("activeVersion", "v0").removeprefix("v"))
        if active and (not self.promotes or self.promotes[-1].version != active):
            self.promotes.append(Promote(int(fleet["metadata"]["resourceVersion"]), active))


def manifest(version: int) -> dict[str, Any]:
    """The fleet with a version."""
    container = {"name": "agent", "image": f"registry.local/hollow:v{version}"}
    spec = {
        "version": f"v{version}",
        "replicas": PODS,
        "maxReplicas": PODS,
        "runsPerPod": SLOTS,
        "port": PORT,
        "endedRunsLimit": 100_000,
        "template": {"spec": {"nodeSelector": {"bench": "hollow"}, "containers": [container]}},
    }
    kind = {"apiVersion": "pinfleet.dev/v1alpha1", "kind": "AgentDeployment"}
    return {**kind, "metadata": {"name": FLEET}, "spec": spec}


def main(world: World) -> bool:
    """Run the bench; returns whether no run was pinned to an older version."""
    n, switches = int(os.environ.get("BENCH_MISPIN_RUNS", "10000")), int(os.environ.get("BENCH_SWITCHES", "20"))
    kills = {2 + switches // 3, 2 + 2 * switches // 3}
    world.stage.kubectl("create", "namespace", NAMESPACE)
    switching = Switching(world)
    with switching.watching():
        switching.begin()
        for version in range(2, switches + 2):
            switching.switch(version, n // switches, is_killed=version in kills)
            print(f"    v{version}: {len(switching.created)} runs", flush=True)
        switching.end()
    runs, promotes = switching.runs(), switching.promotes
    assert [promote.version for promote in promotes] == list(range(1, switches + 2)), promotes
    found = mispins(promotes, runs)
    late = max(runs, key=lambda run: run.rv)
    planted = mispins(promotes, [replace(late, version=late.version - 1)])
    assert len(planted) == 1, "a planted mispin was not found"
    size = f"{len(runs)} runs, {switches} switches, {len(kills)} failovers"
    rows = [
        Row("runs on an older version than at their creation", len(found), "runs", 0, None, "equal 0", not found, size),
        Row("runs without a version", sum(not run.version for run in runs), "runs", 0, n=size),
        Row("a planted one that is found", len(planted), "runs", 1, 1.0, "equal 1", True, "a version too old"),
    ]
    save("mispins", rows, world.facts(), [{"mispins": found, "promotes": [vars(p) for p in promotes]}])
    return not found
