"""Parked runs by the ten thousand: one that the operator itself parked, and copies of it, put straight into etcd.

Through the API server the same would take minutes. What it then shows differs in nothing but names, uids and times.
"""

import json
import re
import uuid
from datetime import UTC, datetime, timedelta

from bench.http1 import Job
from bench.measure import wait_for
from bench.world import OURS, World, runs_key

PREFIX = "parked"
FIRST = f"{PREFIX}-00000"
WRITERS, BATCH = 16, 5000
TIME = re.compile(r"(20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d)((?:\.\d+)?Z)")
PARKED_FOR = timedelta(days=20)  # the deadline comes after it


def park_runs(world: World, n: int) -> None:
    """See to it that so many runs are parked, and no other is there; no operator is up."""
    seed = _seed(world)
    for first in range(0, n, BATCH):
        copies = [_copy(seed, i) for i in range(first, min(n, first + BATCH))]
        done = world.send(Job(world.etcd.target, "POST", "application/json", WRITERS, world.etcd.puts(copies)))
        assert done.ok == len(copies), done
    wait_for(f"{n} parked runs", lambda: world.count_runs(OURS) == n, 60)


def _copy(seed: str, i: int) -> tuple[str, str]:
    """Key and text of run number i: no two have a name, a uid or a time in common."""
    name, uid = f"{PREFIX}-{i:05d}", json.loads(seed)["metadata"]["uid"]

    def shift(found: re.Match[str]) -> str:
        at = datetime.fromisoformat(found[1]) - timedelta(seconds=i)
        return f"{at:%Y-%m-%dT%H:%M:%S}{found[2]}"

    text = TIME.sub(shift, seed).replace(uid, str(uuid.UUID(int=i + 1))).replace(FIRST, name)
    return runs_key(OURS, name), text


def _seed(world: World) -> str:
    """A run that the operator has pinned and parked, as etcd holds it."""
    until = f"{datetime.now(UTC) + PARKED_FOR:%Y-%m-%dT%H:%M:%SZ}"
    world.delete_runs(OURS)
    world.pause(is_paused=False)
    with world.operator():
        world.create_runs(OURS, 1, PREFIX)
        wait_for("the run to be held", lambda: world.hollow.count() == 1, 30)
        world.hollow.do("park", until=until)
        wait_for("the run to be parked", lambda: world.hollow.count() == 0, 30)
    found = world.etcd.read(runs_key(OURS, FIRST))
    world.delete_runs(OURS)
    return found
