"""`burst`: `pin` while the runs are being created, as fast as the API server takes them.

The rival writes as many statuses, on runs that exist, while as many others are created beside it.
"""

from bench.measure import wait_for
from bench.pin import Unit, Watched, check_held, medians, pairs, runs, tell
from bench.report import judged, save
from bench.world import BARE, OURS, World, write_bare

CONNECTIONS = 32
OTHERS = "other"


def operator_unit(world: World, n: int) -> Unit:
    """The operator's unit: it watches, pins, assigns and offers while others create."""
    world.pause(is_paused=False)
    with world.operator() as operator:
        watched = Watched(world, operator.pid, "operator")
        world.create_runs(OURS, n)
        wait_for(f"{n} runs to be held", lambda: world.hollow.count() >= n, 60 + n / 20)
        unit = watched.end(n)
        check_held(world, n)
    world.delete_runs(OURS)
    return unit


def bare_unit(world: World, n: int) -> Unit:
    """The rival's unit."""
    world.create_runs(BARE, n)
    requests = world.assignments(BARE)
    with world.creating(BARE, n, OTHERS):
        unit = write_bare(world, requests, CONNECTIONS)
    world.delete_runs(BARE)
    return unit


def main(world: World) -> bool:
    """Run the bench; returns whether every goal is met."""
    n, units = runs(), list[Unit]()
    for _ in range(pairs()):
        units += tell(operator_unit(world, n), bare_unit(world, n))
    ours, bare = ([u for u in units if u["who"] == who] for who in ("operator", "bare"))
    size = f"{pairs()} pairs of {n} runs"
    rows = [
        judged("operator CPU per run, while they come", *medians("cpu_ms", "ms", ours, bare), most=3, n=size),
        judged("status writes, while they come", *medians("per_second", "1/s", ours, bare), least=0.8, n=size),
    ]
    save("burst", rows, world.facts(), units)
    return all(row.met is not False for row in rows)
