"""`python -m bench [NAME ...]`: runs benches on one cluster, prints their rows, writes bench/out/*.json.

A goal that is missed is said and does not change the exit code, except where a bench counts and does not measure.
Variables make a quick look of it; docs/bench.md names them.
"""

import os
import sys
import time

from bench import burst, failover, growth, idle, latency, memory, mispins, pin, restart, retire, wake, writes
from bench.world import World

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
    unknown = set(names) - set(BENCHES)
    if unknown:
        sys.exit(f"no such bench: {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}")
    pods = int(os.environ.get("BENCH_PODS", str(-(-max(pin.runs(), 2000) // RUNS_PER_POD))))
    missed = list[str]()
    with World(pods=pods, runs_per_pod=RUNS_PER_POD) as world:
        for name in names or BENCHES:
            print(f"{name}: begun", flush=True)
            began = time.monotonic()
            if not BENCHES[name](world):
                missed.append(name)
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    print(f"missed: {', '.join(missed)}" if missed else "every goal is met")
    return int(bool(COUNTING & set(missed)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
