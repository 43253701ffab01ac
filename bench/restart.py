"""`restart`: many runs are open and the Lease is free. How long from a process's start to its first assignment?

Most of the runs are parked, the others on pods; one more is Pending, with the last name of all. Cold is a process that
starts from nothing; warm is a standby, from the moment that the leader is told to end. The end of the first assignment
comes from the audit log.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from bench.measure import Audit, cpu_seconds, memory, wait_for, wait_quiet
from bench.memory import hold, sizes
from bench.parked import park_runs
from bench.report import Row, save
from bench.world import OURS, PROFILE, World, run_manifest, runs_path

GOAL_SECONDS = {10_000: 3.0, 50_000: 10.0}
FREE_SLOTS = 100
PROBE = "zz-probe"
QUIET_LIMIT_SECONDS = 180.0
Try = dict[str, float]


def tries() -> int:
    """How often each is measured."""
    return int(os.environ.get("BENCH_TRIES", "3"))


def cold(world: World) -> Try:
    """One start from nothing."""
    world.admin.ask("POST", runs_path(OURS), run_manifest(PROBE))
    audit, began = world.audit(), time.time()
    with world.stage.operator("cold") as operator:
        profiler = subprocess.Popen([*PROFILE.split(), str(operator.pid)]) if PROFILE else None
        found = {"seconds": assigned_at(audit) - began, "cpu": cpu_seconds(operator.pid)}
        wait_quiet(operator.pid, QUIET_LIMIT_SECONDS)
        found |= {"cpu_at_rest": cpu_seconds(operator.pid), "peak_mib": memory(operator.pid).peak / 2**20}
        if profiler is not None:
            profiler.wait(timeout=QUIET_LIMIT_SECONDS)
    return found


def warm(world: World) -> Try:
    """One clean exit of a leader beside a standby."""
    with world.stage.operator("leader") as leader:
        wait_quiet(leader.pid, QUIET_LIMIT_SECONDS)
        with world.stage.operator("standby") as standby:
            wait_quiet(standby.pid, QUIET_LIMIT_SECONDS)
            before, audit, began = cpu_seconds(standby.pid), world.audit(), time.time()
            leader.signal(signal.SIGTERM)
            world.admin.ask("POST", runs_path(OURS), run_manifest(PROBE))
            return {"seconds": assigned_at(audit) - began, "cpu": cpu_seconds(standby.pid) - before}


def assigned_at(audit: Audit, name: str = PROBE) -> float:
    """When the API server had answered a run's first assignment; waits for it."""
    answered: list[float] = []

    def is_answered() -> bool:
        writes = [e for e in audit.events(OURS) if (e.object_ref.name, e.object_ref.subresource) == (name, "status")]
        answered.extend(event.stage_timestamp.timestamp() for event in writes if event.is_ok)
        return bool(answered)

    wait_for(f"{name} to be assigned", is_answered, 120)
    return answered[0]


def measure(world: World, what: Callable[[World], Try]) -> list[Try]:
    """Some tries; the run that was assigned is taken away after each."""
    found = []
    for _ in range(tries()):
        found.append(what(world))
        words = ", ".join(f"{key} {value:.2f}" for key, value in found[-1].items())
        print(f"    {what.__name__:<5} {words}", flush=True)
        world.admin.ask("DELETE", runs_path(OURS, PROBE))
        world.hollow.do("drop", name=PROBE)
    return found


def main(world: World) -> bool:
    """Run the bench; returns whether every goal is met."""
    rows, units = list[Row](), list[dict[str, Any]]()
    for n in sizes():
        running = min(n // 4, world.pods * world.runs_per_pod - FREE_SLOTS)
        park_runs(world, n - running)
        hold(world, running)
        goal = GOAL_SECONDS.get(n)
        for what in (cold, warm):
            found = measure(world, what)
            value = median(each["seconds"] for each in found)
            limit = goal if what is cold else None
            rows.append(
                Row(
                    f"{n} open runs, {what.__name__}: to the first assignment",
                    value,
                    "s",
                    limit,
                    value / limit if limit else None,
                    f"at most {limit:g} s" if limit else "",
                    value <= limit if limit else None,
                    f"median of {len(found)}, CPU {median(each['cpu'] for each in found):.2f} s",
                )
            )
            units += [{"open": n, "who": what.__name__, **each} for each in found]
    world.delete_runs(OURS)
    save("restart", rows, world.facts(), units)
    return all(row.met is not False for row in rows)
