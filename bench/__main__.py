"""`python -m bench [NAME ...]`: runs benches, prints their rows, writes bench/out/*.json.

Those that need a cluster share one, which is not made for the others.

A goal that is missed is said and does not change the exit code, except where a bench counts and does not measure.
Variables make a quick look of it; docs/bench.md names them.
"""

import os
import sys
import time
from collections.abc import Callable

from bench import burst, failover, growth, idle, journal, latency, memory, mispins, pin, restart, retire, wake, writes
from bench.world import World

WITHOUT_CLUSTER = {"journal": journal.main}
BENCHES = {
    "writes": writes.main,
    "pin": pin.main,
    "burst": burst.main,
    "latency": latency.main,
    "idle": idle.main,
    "memory": memory.main,
    "growth": growth.main,
    "retire": retire.main,
    "wake": wake.main,
    "failover": failover.main,
    "restart": restart.main,
    "mispins": mispins.main,
}
COUNTING = {"writes", "idle", "mispins"}
RUNS_PER_POD = 50


def main(names: list[str]) -> int:
    """Run some benches; all if none is named."""
    every = [*WITHOUT_CLUSTER, *BENCHES]
    unknown = set(names) - set(every)
    if unknown:
        sys.exit(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    wanted = names or every
    missed = [name for name in wanted if name in WITHOUT_CLUSTER and not timed(name, WITHOUT_CLUSTER[name])]
    on_cluster = [name for name in wanted if name in BENCHES]
    if on_cluster:
        pods = int(os.environ.get("BENCH_PODS", str(-(-max(pin.runs(), 2000) // RUNS_PER_POD))))
        with World(pods=pods, runs_per_pod=RUNS_PER_POD) as world:
            missed += [name for name in on_cluster if not timed(name, lambda name=name: BENCHES[name](world))]  # type: ignore[misc]
    print(f"missed: {', '.join(missed)}" if missed else "every goal is met")
    return int(bool(COUNTING & set(missed)))


def timed(name: str, bench: Callable[[], bool]) -> bool:
    """Run one bench, and say how long it took; returns whether every goal is met."""
    print(f"{name}: begun", flush=True)
    began = time.monotonic()
    is_met = bench()
    print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    return is_met


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
