"""`writes`: how often is a run written over its life? Creation, assignment and end: three, by the audit log."""

import os
from collections import Counter

from bench.measure import WRITES, wait_for
from bench.report import Row, save
from bench.world import OURS, World

LIMIT = 3


def main(world: World) -> bool:
    """Run the bench; returns whether every run was written exactly three times."""
    n = int(os.environ.get("BENCH_WRITES_RUNS", "500"))
    world.pause(is_paused=False)
    audit = world.audit()
    with world.operator():
        world.create_runs(OURS, n)
        wait_for(f"{n} runs to be held", lambda: world.hollow.count() >= n, 60)
        world.hollow.do("finish")
        wait_for("every end to be acked", lambda: world.hollow.count() == 0, 60)
    ended = [run for run in world.runs(OURS) if run["status"]["phase"] == "Succeeded"]
    assert len(ended) == n, f"{len(ended)} of {n} runs succeeded"
    events = [event for event in audit.events(OURS) if event.verb in WRITES]
    # A creation's object has its name in the body alone; the log then names none.
    named = Counter(event.object_ref.name for event in events if event.is_ok and event.verb != "create")
    refused = sum(1 for event in events if not event.is_ok)
    most = 1 + max(named.values())
    mean = sum(1 for event in events if event.is_ok) / n
    world.delete_runs(OURS)
    rows = [
        exactly("API writes per run over its life, mean", mean, LIMIT, n),
        exactly("API writes of the most written run", most, LIMIT, n),
        exactly("writes refused", refused, 0, n),
    ]
    save("writes", rows, world.facts(), [])
    return all(row.met is not False for row in rows)


def exactly(name: str, value: float, limit: int, n: int) -> Row:
    """A count that must be met."""
    ratio = value / limit if limit else None
    return Row(name, value, "writes", limit, ratio, f"equal {limit}", value == limit, f"{n} runs")
