"""`memory`: what an open run takes in a fresh operator, over the same operator without runs.

Some runs are on pods, as in `pin`, the others are parked. Settled is what the process holds once it is quiet after its
start; the peak is the most that it ever held, so that reading the list counts.
"""

import os

from bench.measure import Memory, memory, wait_for
from bench.parked import park_runs
from bench.report import Row, save
from bench.world import OURS, World

LIMIT_BYTES = 1024


def sizes() -> list[int]:
    """Numbers of open runs."""
    return [int(n) for n in os.environ.get("BENCH_OPEN", "10000,50000").split(",")]


def settled(world: World) -> Memory:
    """The memory of a fresh operator at rest."""
    with world.operator() as operator:
        return memory(operator.pid)


def main(world: World) -> bool:
    """Run the bench; returns whether every goal is met."""
    world.delete_runs(OURS)
    idle = settled(world)
    rows = [
        Row("idle process, settled", idle.now / 2**20, "MiB"),
        Row("idle process, peak", idle.peak / 2**20, "MiB"),
    ]
    for n in sizes():
        running = min(n // 4, world.pods * world.runs_per_pod)
        park_runs(world, n - running)
        hold(world, running)
        found = settled(world)
        mix = f"{n} open runs, {running} of them on pods"
        rows += [
            per_run("per open run, settled", found.now, idle.now, n, mix),
            per_run("per open run, peak", found.peak, idle.now, n, mix),
            Row("whole process, settled", found.now / 2**20, "MiB", n=mix),
            Row("whole process, peak", found.peak / 2**20, "MiB", n=mix),
        ]
    world.delete_runs(OURS)
    save("memory", rows, world.facts(), [])
    return all(row.met is not False for row in rows)


def hold(world: World, n: int) -> None:
    """Bring so many runs onto pods."""
    world.pause(is_paused=False)
    with world.operator():
        world.create_runs(OURS, n)
        wait_for(f"{n} runs to be held", lambda: world.hollow.count() >= n, 60 + n / 20)


def per_run(name: str, found: int, idle: int, n: int, mix: str) -> Row:
    """Bytes per run over the idle process."""
    value = (found - idle) / n
    return Row(name, value, "B", LIMIT_BYTES, value / LIMIT_BYTES, "ratio <= 1", value <= LIMIT_BYTES, mix)
