"""`python -m bench [pin] [latency] [writes]`: runs benches on one cluster, prints their rows, writes bench/out/*.json.

A goal that is missed is said and does not change the exit code, except that of `writes`, which counts and does not
measure. BENCH_RUNS, BENCH_PAIRS, BENCH_PODS and BENCH_SECONDS make a quick look of it.
"""

import os
import sys
import time

from bench import latency, pin, writes
from bench.world import World

BENCHES = {"writes": writes.main, "pin": pin.main, "latency": latency.main}
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
    return int("writes" in missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
