"""Parked runs by the ten thousand: one that the operator itself parked, and copies of it, put straight into etcd.

Through the API server the same would take minutes. What it then shows differs in nothing but names and uids.
"""

import json
import uuid
from datetime import UTC, datetime, timedelta

from bench.measure import wait_for
from bench.world import OURS, World, runs_key

PREFIX = "parked"
FIRST = f"{PREFIX}-00000"
PARKED_FOR = timedelta(days=20)  # the deadline comes after it


def park_runs(world: World, n: int) -> None:
    """See to it that so many runs are parked, and no other is there; no operator is up."""
    seed = _seed(world)
    uid = json.loads(seed)["metadata"]["uid"]
    for i in range(n):
        name = f"{PREFIX}-{i:05d}"
        world.etcd.write(runs_key(OURS, name), seed.replace(uid, str(uuid.UUID(int=i + 1))).replace(FIRST, name))
    wait_for(f"{n} parked runs", lambda: world.count_runs(OURS) == n, 60)


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
