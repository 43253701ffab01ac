"""The queue of keys that both loops work on."""

import asyncio

import pytest
import uvloop

from pinfleet_operator.work_queue import WorkQueue
from tests.sim.loop import run_virtual


async def test_a_key_is_queued_once_and_never_worked_on_twice_at_a_time() -> None:
    """A key that comes while it is worked on is worked on again afterwards, once."""
    queue: WorkQueue[str] = WorkQueue()
    for key in ("a", "a", "b", "a"):
        queue.add(key)
    first = await queue.get()
    queue.add("a")
    queue.add("a")
    second = await queue.get()

    assert (first, second) == ("a", "b")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 0.01)
    queue.done("a")
    assert await queue.get() == "a"


def test_a_key_comes_at_its_earliest_time() -> None:
    """Of several times the first counts, and a pass in between voids what was set before it."""

    async def main() -> list[float]:
        queue: WorkQueue[str] = WorkQueue()
        loop = asyncio.get_running_loop()
        queue.add_after("a", 100)
        queue.add_after("a", 30)
        queue.add_after("a", 60)
        times = []
        for _ in range(2):
            key = await queue.get()
            times.append(loop.time())
            queue.done(key)
            queue.add_after("a", 1000)
        return times

    assert run_virtual(main()) == pytest.approx([30, 1030])


def test_times_that_are_void_are_forgotten() -> None:
    """A key whose far time is set again at each pass, as a deadline is, does not fill the memory."""

    async def main() -> int:
        queue: WorkQueue[str] = WorkQueue()
        for _ in range(10_000):
            queue.add("a")
            key = await queue.get()
            queue.done(key)
            queue.add_after(key, 2_592_000)
        return len(queue._later)

    assert run_virtual(main()) < 200


def test_one_key_wakes_one_worker() -> None:
    """Of many idle workers one is woken; a worker that is cancelled at that moment leaves the key to another."""

    async def main() -> list[str]:
        queue: WorkQueue[str] = WorkQueue()
        workers = [asyncio.create_task(queue.get()) for _ in range(3)]
        await asyncio.sleep(1)
        queue.add("a")
        workers[0].cancel()
        await asyncio.sleep(1)
        done = [worker for worker in workers if worker.done() and not worker.cancelled()]
        workers[2].cancel()
        return [worker.result() for worker in done]

    assert run_virtual(main()) == ["a"]


def test_times_that_have_come_already_are_set_on_the_loop_that_the_operator_runs_on() -> None:
    """Two keys due at once, on uvloop, whose handle for a time that has come is no timer."""

    async def main() -> list[str]:
        queue: WorkQueue[str] = WorkQueue()
        for key in ("a", "b"):
            queue.add_after(key, 0.0)
        queue.add_after("c", 0.01)
        return [await queue.get() for _ in range(3)]

    assert uvloop.run(main()) == ["a", "b", "c"]
