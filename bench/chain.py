"""`python -m bench.chain JOB`: creates runs at a steady rate and sees when a watcher is shown their pod.

One process and one monotonic clock: from the moment that the POST is answered to the moment that the watch shows
`status.pod`. With a body it writes the status itself as soon as the POST is answered: the chain without an operator.
"""

import asyncio
import math
import sys
import time
from pathlib import Path

import msgspec
import uvloop

from bench.http1 import Connection, Target, watch

MERGE = "application/merge-patch+json"
LATE_SECONDS = 10.0


class Plan(msgspec.Struct, frozen=True):
    """What to do."""

    poster: Target  # creates and watches
    writer: Target  # writes statuses
    path: str  # of the collection
    resource_version: str  # from which the watch begins
    per_second: float
    bodies: list[str]  # one creation each
    names: list[str]
    status: str  # the status as JSON; empty: somebody else writes it
    connections: int


class _Meta(msgspec.Struct, rename="camel"):
    name: str
    resource_version: str


class _Status(msgspec.Struct):
    pod: str = ""


class _Run(msgspec.Struct):
    metadata: _Meta
    status: _Status = msgspec.field(default_factory=_Status)


class _Event(msgspec.Struct):
    object: _Run


_RUN, _EVENT = msgspec.json.Decoder(_Run), msgspec.json.Decoder(_Event)


class Chain:
    """One slice of the bench."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._posters: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        self._writers: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
        self._answered: dict[str, float] = {}
        self._shown: dict[str, float] = {}

    async def run(self) -> list[float]:
        """Seconds per run; a run that was not shown in time is infinite."""
        plan = self._plan
        await self._connect(plan.poster, self._posters)
        await self._connect(plan.writer, self._writers)
        watching = asyncio.create_task(self._watch())
        await asyncio.sleep(0.5)
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for i, (name, body) in enumerate(zip(plan.names, plan.bodies, strict=True)):
                await asyncio.sleep(began + i / plan.per_second - time.monotonic())
                group.create_task(self._one(name, body.encode()))
        until = time.monotonic() + LATE_SECONDS
        while len(self._shown) < len(plan.names) and time.monotonic() < until:  # noqa: ASYNC110 - it is bounded
            await asyncio.sleep(0.05)
        watching.cancel()
        return [self._shown.get(name, math.inf) - self._answered[name] for name in plan.names]

    async def _connect(self, target: Target, pool: "asyncio.LifoQueue[Connection]") -> None:
        context = target.ssl_context()
        for _ in range(self._plan.connections):
            pool.put_nowait(await Connection.open(target, context))

    async def _one(self, name: str, body: bytes) -> None:
        plan = self._plan
        connection = await self._posters.get()
        answer = await connection.ask(plan.poster.head("POST", plan.path, "application/json", len(body)) + body)
        self._answered[name] = time.monotonic()
        self._posters.put_nowait(connection)
        assert answer.status == 201, answer.body  # noqa: PLR2004 - Created
        if plan.status:
            version = _RUN.decode(answer.body).metadata.resource_version
            content = f'{{"metadata":{{"resourceVersion":"{version}"}},"status":{plan.status}}}'.encode()
            head = plan.writer.head("PATCH", f"{plan.path}/{name}/status", MERGE, len(content))
            connection = await self._writers.get()
            written = await connection.ask(head + content)
            self._writers.put_nowait(connection)
            assert written.status == 200, written.body  # noqa: PLR2004 - OK

    async def _watch(self) -> None:
        path = f"{self._plan.path}?watch=true&resourceVersion={self._plan.resource_version}"
        async for line in watch(self._plan.poster, path):
            run = _EVENT.decode(line).object
            if run.status.pod:
                self._shown.setdefault(run.metadata.name, time.monotonic())


if __name__ == "__main__":
    job = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)
    print(msgspec.json.encode([x if x < LATE_SECONDS else 1e9 for x in uvloop.run(Chain(job).run())]).decode())
