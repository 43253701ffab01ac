"""`python -m bench.switches JOB`: watches fleets and runs of one namespace until its stdin ends.

It then prints, by one clock, when each fleet was first shown with each active version, and when the first run of each
version was shown.
"""

import asyncio
import sys
import time
from pathlib import Path

import msgspec
import uvloop

from bench.http1 import Target, watch


class Job(msgspec.Struct, frozen=True):
    """What to watch."""

    target: Target
    fleets: str  # path of the collection
    runs: str  # path of the collection


class Seen(msgspec.Struct, frozen=True):
    """Monotonic times by ``fleet/version``."""

    promoted: dict[str, float]
    first_run: dict[str, float]


class _Meta(msgspec.Struct):
    name: str


class _Task(msgspec.Struct, rename="camel"):
    agent_deployment: str = ""


class _Spec(msgspec.Struct):
    task: _Task = msgspec.field(default_factory=_Task)


class _Status(msgspec.Struct, rename="camel"):
    active_version: str = ""
    version: str = ""


class _Object(msgspec.Struct):
    metadata: _Meta
    spec: _Spec = msgspec.field(default_factory=_Spec)
    status: _Status = msgspec.field(default_factory=_Status)


class _Event(msgspec.Struct):
    object: _Object


_EVENT = msgspec.json.Decoder(_Event)


async def follow_fleets(job: Job, seen: Seen) -> None:
    """Note each fleet's active versions."""
    async for line in watch(job.target, f"{job.fleets}?watch=true"):
        fleet = _EVENT.decode(line).object
        if fleet.status.active_version:
            seen.promoted.setdefault(f"{fleet.metadata.name}/{fleet.status.active_version}", time.monotonic())


async def follow_runs(job: Job, seen: Seen) -> None:
    """Note each version's first run."""
    async for line in watch(job.target, f"{job.runs}?watch=true"):
        run = _EVENT.decode(line).object
        if run.status.version:
            seen.first_run.setdefault(f"{run.spec.task.agent_deployment}/{run.status.version}", time.monotonic())


async def main(job: Job) -> Seen:
    """Watch until stdin ends."""
    seen = Seen({}, {})
    watches = [asyncio.create_task(follow(job, seen)) for follow in (follow_fleets, follow_runs)]
    await asyncio.to_thread(sys.stdin.read)
    for each in watches:
        each.cancel()
    return seen


if __name__ == "__main__":
    given = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Job)
    print(msgspec.json.encode(uvloop.run(main(given))).decode())
