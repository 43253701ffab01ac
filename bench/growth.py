"""`growth`: what does a run's way onto a pod cost when 1,000 others are open, and when 50,000 are?

The others are parked. Units are those of `pin`, without its rival: the same process has to cost the same.
"""

import os
from statistics import median

from bench.parked import park_runs
from bench.pin import Unit, operator_unit
from bench.report import Row, save
from bench.world import OURS, World

MOST = 1.2  # times the CPU at the smaller number


def main(world: World) -> bool:
    """Run the bench; returns whether the goal is met."""
    few, many = (int(n) for n in os.environ.get("BENCH_GROWTH", "1000,50000").split(","))
    n, pairs = int(os.environ.get("BENCH_GROWTH_RUNS", "2000")), int(os.environ.get("BENCH_GROWTH_PAIRS", "3"))
    units = list[Unit]()
    for _ in range(pairs):
        for others in (few, many):
            park_runs(world, others)
            unit = operator_unit(world, n) | {"open": others}
            print(f"    {others:>6} open {unit['per_second']:6.0f}/s {unit['cpu_ms']:6.3f} ms", flush=True)
            units.append(unit)
    world.delete_runs(OURS)
    size = f"{pairs} pairs of {n} runs"
    at_few, at_many = (median(float(u["cpu_ms"]) for u in units if u["open"] == others) for others in (few, many))
    ratio = at_many / at_few
    name = f"CPU per run beside {many} open runs, against {few}"
    rows = [Row(name, at_many, "ms", at_few, ratio, f"ratio <= {MOST:g}", ratio <= MOST, size)]
    save("growth", rows, world.facts(), units)
    return ratio <= MOST
