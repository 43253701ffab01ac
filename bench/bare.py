"""A bare client, a process of its own: `python -m bench.bare JOB` sends requests and prints what became of them.

Bodies and heads are made before the clock starts; answers are read whole and not decoded.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import uvloop

from bench.http1 import Connection, Job, Outcome


async def send(job: Job) -> Outcome:
    """Send every request, each once, over so many connections."""
    target, context = job.target, job.target.ssl_context()
    pairs = [(path, body.encode()) for path, body in job.requests]
    wire = [target.head(job.method, path, job.content_type, len(body)) + body for path, body in pairs]
    connections = [await Connection.open(target, context) for _ in range(job.connections)]
    statuses: Counter[str] = Counter()
    left = iter(wire)
    began, cpu = time.monotonic(), time.process_time()
    await asyncio.gather(*(drain(connection, left, statuses) for connection in connections))
    outcome = Outcome(time.monotonic() - began, time.process_time() - cpu, dict(statuses))
    for connection in connections:
        connection.transport.abort()
    return outcome


async def drain(connection: Connection, left: Iterator[bytes], statuses: Counter[str]) -> None:
    """Take requests until none is left."""
    for request in left:
        answer = await connection.ask(request)
        statuses[str(answer.status)] += 1


def main() -> None:
    """Run one job."""
    job = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Job)
    print(msgspec.json.encode(uvloop.run(send(job))).decode())


if __name__ == "__main__":
    main()
