"""`idle`: 10,000 runs are parked, and nothing happens for a minute. How often does the operator write?

Counted in the audit log, under the account of the operator, refused ones included; the Lease is renewed and does
not count. So that a count of zero means something, the bench then writes once by its own hand under that account.
"""

import os
import time

from bench.http1 import Job
from bench.measure import cpu_seconds, wait_for
from bench.parked import FIRST, park_runs
from bench.report import Row, save
from bench.world import ACCOUNT, OURS, World, runs_path

LEASES = "leases"
NOTE = '{"status":{"message":"a note by another hand"}}'


def main(world: World) -> bool:
    """Run the bench; returns whether the operator wrote nothing, and a planted write was counted."""
    n = int(os.environ.get("BENCH_IDLE_RUNS", "10000"))
    seconds = float(os.environ.get("BENCH_IDLE_SECONDS", "60"))
    park_runs(world, n)
    with world.operator() as operator:
        audit, before = world.audit(), cpu_seconds(operator.pid)
        time.sleep(seconds)
        found, cpu = audit.writes(ACCOUNT), cpu_seconds(operator.pid) - before
        planted = plant(world)
    world.delete_runs(OURS)
    leases = found.pop(LEASES, 0)
    size = f"{seconds:.0f} s, {n} parked runs"
    rows = [
        exactly("API writes but the Lease's", sum(found.values()), 0, size),
        Row("writes of the Lease", leases, "writes", n=size),
        exactly("the same count after one write by hand", planted, 1, "negative control"),
        Row("operator's CPU", 1000 * cpu / seconds, "ms/s", n=size),
    ]
    save("idle", rows, world.facts(), [{"writes": dict(found)}])
    return all(row.met is not False for row in rows)


def plant(world: World) -> int:
    """Write once under the operator's account; returns how many writes are counted."""
    audit = world.audit()
    path = runs_path(OURS, FIRST, "status")
    sent = world.send(Job(world.account(), "PATCH", "application/merge-patch+json", 1, [(path, NOTE)]))
    assert sent.ok == 1, sent
    wait_for("the write to be logged", lambda: "agentruns" in audit.writes(ACCOUNT), 10)
    found = audit.writes(ACCOUNT)
    found.pop(LEASES, None)
    return sum(found.values())


def exactly(name: str, value: int, limit: int, n: str) -> Row:
    """A count that must be met."""
    return Row(name, value, "writes", limit, None, f"equal {limit}", value == limit, n)
