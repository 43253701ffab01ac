"""`pin`: 5,000 runs exist, then slots appear. How fast are they pinned, assigned and offered, and for how much CPU?

And how fast without the offers?

The rival is a bare client that writes the same bodies on equal objects, with the same account, at its best number of
connections, beside one idle watcher and the same idle pods. Units alternate; each begins with fresh runs and, for the
operator, with a fresh process. CPU comes from /proc, writes from the audit log.
"""

import os
import subprocess
from statistics import median
from typing import Any

from bench.measure import cpu_seconds, wait_for
from bench.report import Row, judged, save
from bench.world import ACCOUNT, BARE, OURS, PROFILE, World, runs_path, write_bare

CONNECTIONS = (8, 16, 32, 64)
RUNS = "run-"  # what their names begin with
Unit = dict[str, Any]


def runs() -> int:
    """Runs per unit."""
    return int(os.environ.get("BENCH_RUNS", "5000"))


def pairs() -> int:
    """Pairs of units."""
    return int(os.environ.get("BENCH_PAIRS", "5"))


def best_connections(world: World, n: int) -> tuple[int, list[Unit]]:
    """The number of connections at which the bare client writes fastest, each with its share of the runs."""
    world.create_runs(BARE, n)
    requests, share = world.assignments(BARE), n // len(CONNECTIONS)
    units = [write_bare(world, requests[i * share : (i + 1) * share], c) for i, c in enumerate(CONNECTIONS)]
    world.delete_runs(BARE)
    return max(units, key=lambda unit: float(unit["per_second"]))["connections"], units


def bare_unit(world: World, n: int, connections: int) -> Unit:
    """The rival's unit."""
    world.create_runs(BARE, n)
    unit = write_bare(world, world.assignments(BARE), connections)
    world.delete_runs(BARE)
    return unit


def operator_unit(world: World, n: int) -> Unit:
    """The operator's unit: everything that the process does from the moment that slots appear is counted."""
    world.pause(is_paused=True)
    world.create_runs(OURS, n)
    with world.operator() as operator:
        watched = Watched(world, operator.pid, "operator")
        profiler = subprocess.Popen([*PROFILE.split(), str(operator.pid)]) if PROFILE else None
        world.pause(is_paused=False)
        wait_for(f"{n} runs to be held", lambda: world.hollow.count() >= n, 60 + n / 20)
        unit = watched.end(n)
        if profiler is not None:
            profiler.wait(timeout=120)
        check_held(world, n)
    world.delete_runs(OURS, RUNS)
    return unit


def unoffered_unit(world: World, n: int) -> Unit:
    """The same without offers."""
    world.pause(is_paused=True)
    world.create_runs(OURS, n)
    with world.operator(module="bench.unoffered") as operator:
        watched = Watched(world, operator.pid, "unoffered")
        world.pause(is_paused=False)
        wait_for(f"{n} runs to be assigned", lambda: not pending(world), 60 + n / 20, pause=0.5)
        unit = watched.end(n)
    world.delete_runs(OURS, RUNS)
    return unit


def pending(world: World) -> Any:
    """One of the runs that are not assigned yet, if there is any."""
    return world.admin.ask("GET", f"{runs_path(OURS)}?limit=1&fieldSelector=status.phase%3DPending")["items"]


class Watched:
    """The CPU and the writes of an operator from one moment on."""

    def __init__(self, world: World, pid: int, who: str) -> None:
        self._world, self._pid, self._who = world, pid, who
        self._audit = world.audit()
        self._before = cpu_seconds(pid), cpu_seconds(world.hollow.pid)

    def end(self, n: int) -> Unit:
        """The unit's figures, up to now."""
        cpu, pods = cpu_seconds(self._pid) - self._before[0], cpu_seconds(self._world.hollow.pid) - self._before[1]
        written = self._audit.status_writes(OURS, ACCOUNT)
        assert written.ok == n, written
        return {
            "who": self._who,
            "n": n,
            "per_second": written.per_second,
            "refused": written.others,
            "cpu_ms": 1000 * cpu / n,
            "pods_cpu_ms": 1000 * pods / n,
        }


def check_held(world: World, n: int) -> None:
    """Every run is held by the very pod, and at the epoch, that its status says; by no other."""
    held = world.hollow.do("held")
    said = {
        run["metadata"]["uid"]: [run["status"]["podUID"], run["status"]["epoch"]]
        for run in world.runs(OURS)
        if run["status"]["phase"] == "Running"
    }
    assert not held["twice"], f"held by two pods: {held['twice'][:3]}"
    assert len(said) == n, f"{len(said)} of {n} runs are Running"
    assert held["runs"] == said, "pods hold other runs than the statuses say"


def main(world: World) -> bool:
    """Run the bench; returns whether every goal is met."""
    n, units = runs(), list[Unit]()
    best, swept = best_connections(world, n)
    print(f"  bare client: best at {best} connections", flush=True)
    for _ in range(pairs()):
        units += tell(operator_unit(world, n), bare_unit(world, n, best), unoffered_unit(world, n))
    ours, bare, alone = ([u for u in units if u["who"] == who] for who in ("operator", "bare", "unoffered"))
    size = f"{pairs()} rounds of {n} runs"
    rows = [
        judged("operator CPU per run, with offers", *medians("cpu_ms", "ms", ours, bare), most=3, n=size),
        judged("status writes, with offers", *medians("per_second", "1/s", ours, bare), least=0.8, n=size),
        judged("operator CPU per run, without offers", *medians("cpu_ms", "ms", alone, bare), most=2.2, n=size),
        judged("status writes, without offers", *medians("per_second", "1/s", alone, bare), least=0.85, n=size),
        Row("bare client's best number of connections", best, "connections", n=f"{n // 4} runs each"),
        Row("pods' CPU per run (one process for all)", mid(ours, "pods_cpu_ms"), "ms"),
    ]
    save("pin", rows, world.facts(), swept + units)
    return all(row.met is not False for row in rows)


def tell(*units: Unit) -> tuple[Unit, ...]:
    """Print units as they end."""
    for unit in units:
        print(f"    {unit['who']:<9} {unit['per_second']:6.0f}/s {unit['cpu_ms']:6.3f} ms", flush=True)
    return units


def medians(key: str, unit: str, ours: list[Unit], bare: list[Unit]) -> tuple[float, str, float]:
    """The operator's figure, its unit, and the rival's figure."""
    return mid(ours, key), unit, mid(bare, key)


def mid(units: list[Unit], key: str) -> float:
    """The units' median."""
    return median(float(unit[key]) for unit in units)
