"""Many runs at once, and a long one again: the parts of `journal` that need a loop."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import psycopg

from bench.committing import DONE_AT, claim, step
from pinfleet import Agent, Ctx
from pinfleet.journal.handle import RunHandle
from pinfleet.journal.interface import Batch, Journal, Owner
from pinfleet.journal.worker import JournalWorker
from tests.unit.sdk.inline_pod import InlinePod, offer

REPLAYED = 1_000


async def in_one_pod(journal: Journal, runs: int, steps: int) -> float:
    """Steps per second of so many runs that commit one step after the other, through one pod's committer."""
    worker = JournalWorker(journal)
    handles = []
    for n in range(runs):
        await asyncio.wrap_future(worker.submit(lambda opened, n=n: opened.claim(claim(f"r{n}"))))  # type: ignore[misc]
        handles.append(RunHandle(worker, run=f"r{n}", epoch=1, steps=0, max_steps=10**9))

    async def advance(handle: RunHandle, first: int, last: int) -> None:
        for n in range(first, last):
            await handle.commit(Batch(steps=(step(n),)))

    await asyncio.gather(*(advance(handle, 0, 2) for handle in handles))
    began = time.perf_counter()
    await asyncio.gather(*(advance(handle, 2, 2 + steps) for handle in handles))
    taken = time.perf_counter() - began
    worker.close()
    return runs * steps / taken


async def over_connections(url: str, insert: str, row: Callable[[int], Any], connections: int, steps: int) -> float:
    """Bare commits per second over as many connections, by the same driver, in one process."""
    opened = [
        await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=0) for _ in range(connections)
    ]

    async def advance(number: int, db: "psycopg.AsyncConnection[Any]", first: int, last: int) -> None:
        for n in range(first, last):
            await db.execute(insert, row(1 + number * 1_000 + n))

    await asyncio.gather(*(advance(number, db, 0, 2) for number, db in enumerate(opened)))
    began = time.perf_counter()
    await asyncio.gather(*(advance(number, db, 2, 2 + steps) for number, db in enumerate(opened)))
    taken = time.perf_counter() - began
    for db in opened:
        await db.close()
    return connections * steps / taken


async def replayed(journal: Journal) -> float:
    """Seconds from the offer of a run with 1,000 recorded steps until its code has read them all again."""
    agent, read_at = Agent("bench"), list[float]()

    @agent.step
    async def work(order_id: str) -> str:
        raise AssertionError(f"{order_id} is recorded")

    @agent.main
    async def main(_: Ctx) -> None:
        for _n in range(REPLAYED):
            await work("o-123456")
        read_at.append(time.perf_counter())

    journal.claim(claim("r1"))
    for first in range(1, REPLAYED, 100):
        batch = Batch(steps=tuple(step(n) for n in range(first, first + 100)))
        journal.commit(Owner("r1", 1), batch, max_steps=REPLAYED, now=DONE_AT)
    pod = InlinePod(agent, journal)
    began = time.perf_counter()
    await pod.offer("r1", offer(2, max_steps=10_000))
    await pod.until("r1", "succeeded")
    pod.worker.close()
    return read_at[0] - began
