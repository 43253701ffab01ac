"""`latency`: at one tenth of the API server's write rate, when does a watcher see the pod of a run just created?

Held against the same chain without an operator: POST, then at once the PATCH, then the watch. Slices of both alternate.
"""

import json
import os
import subprocess
import sys
from typing import Any

import msgspec

from bench.chain import Plan
from bench.report import Row, judged, percentile, save
from bench.world import BARE, OURS, World, run_manifest, runs_path, write_bare

SLICES, CONNECTIONS, PROBED = 3, 16, 1000
GOALS = {0.5: 2.0, 0.99: 4.0}


def raw_rate(world: World) -> float:
    """Status writes per second of the bare client."""
    world.create_runs(BARE, PROBED)
    unit = write_bare(world, world.assignments(BARE), CONNECTIONS)
    world.delete_runs(BARE)
    return float(unit["per_second"])


def chain(world: World, namespace: str, per_second: float, seconds: float, status: str) -> list[float]:
    """One slice; seconds per run."""
    n = int(per_second * seconds)
    names = [f"run-{i:05d}" for i in range(n)]
    plan = Plan(
        poster=world.admin.target,
        writer=world.account(),
        path=runs_path(namespace),
        resource_version=world.admin.ask("GET", f"{runs_path(namespace)}?limit=1")["metadata"]["resourceVersion"],
        per_second=per_second,
        bodies=[msgspec.json.encode(run_manifest(name)).decode() for name in names],
        names=names,
        status=status,
        connections=CONNECTIONS,
    )
    file = world.state / "chain.json"
    file.write_bytes(msgspec.json.encode(plan))
    command = [sys.executable, "-m", "bench.chain", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
    assert done.returncode == 0, done.stderr
    found: list[float] = json.loads(done.stdout)
    world.delete_runs(namespace)
    return found


def sample_status(world: World) -> str:
    """A status as the operator would write it."""
    world.create_runs(BARE, 1)
    _, body = world.assignments(BARE)[0]
    world.delete_runs(BARE)
    return json.dumps(json.loads(body)["status"])


def operator_slice(world: World, per_second: float, seconds: float) -> list[float]:
    """A slice with a fresh operator; pods forget the runs afterwards."""
    with world.operator():
        n = int(per_second * seconds)
        found = chain(world, OURS, per_second, seconds, "")
    assert max(found) < seconds, f"{sum(x >= seconds for x in found)} of {n} runs got no pod"
    return found


def main(world: World) -> bool:
    """Run the bench; returns whether both goals are met."""
    seconds = float(os.environ.get("BENCH_SECONDS", "60")) / SLICES
    world.pause(is_paused=False)
    rate, status = raw_rate(world), sample_status(world)
    ours, bare = list[float](), list[float]()
    for _ in range(SLICES):
        ours += operator_slice(world, rate / 10, seconds)
        bare += chain(world, BARE, rate / 10, seconds, status)
    size = f"{len(ours)} runs at {rate / 10:.1f}/s"
    rows = [
        judged(f"created to pod shown, p{100 * q:.0f}", ms(ours, q), "ms", ms(bare, q), most=goal, n=size)
        for q, goal in GOALS.items()
    ]
    rows.append(Row("raw status writes", rate, "1/s", n=f"{PROBED} runs, {CONNECTIONS} connections"))
    units: list[dict[str, Any]] = [{"who": "operator", "seconds": ours}, {"who": "bare", "seconds": bare}]
    save("latency", rows, world.facts(), units)
    return all(row.met is not False for row in rows)


def ms(values: list[float], share: float) -> float:
    """A percentile in milliseconds."""
    return 1000 * percentile(values, share)
