"""Runs executed in a pod without sockets: cancelled, drained, superseded, and code that does not want to stop."""
# ruff: noqa: ASYNC110 - what is waited for happens in other threads, or has no event of its own

import asyncio
import threading

import pytest

from pinfleet import clock
from pinfleet.agent import Agent
from pinfleet.context import Ctx
from pinfleet.errors import Fenced, Parked
from pinfleet.journal.interface import Batch, End, Owner
from pinfleet.rules import without
from tests.unit.sdk.conftest import MakePod
from tests.unit.sdk.inline_pod import offer
from tests.unit.sdk.noted import counting, executing, looping, resuming


async def test_cancel(make_pod: MakePod) -> None:
    """Cancelled code stops, and the cancel is in the journal."""
    pod = make_pod(looping())
    await pod.offer("r1", offer())
    await pod.delete("r1")
    listed = await pod.until("r1", "cancelled")
    assert listed.outcome is None
    await pod.ack("r1")
    await pod.until_empty()
    again = make_pod(looping(), uid="pod-2")
    await again.offer("r1", offer(2))
    await again.until("r1", "cancelled")


async def test_swallowed_cancel(make_pod: MakePod) -> None:
    """What code returns after it swallowed its cancel is ignored."""
    agent = Agent("a")
    note, ran = counting(agent)
    seen: list[str] = []

    @agent.main
    async def main(ctx: Ctx) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            try:
                await note(1)
            except BaseException as err:  # noqa: BLE001 - what a stubborn author writes
                seen.append(type(err).__name__)
        return "swallowed"

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    await executing(pod)
    await pod.delete("r1")
    await pod.until("r1", "cancelled")
    assert (ran, seen) == ([], ["Fenced"])


async def test_code_that_does_not_stop(make_pod: MakePod) -> None:
    """Rule 10: after the grace the pod commits the end itself and lists it; the slot is held until the code stops."""
    agent = Agent("a")
    release = asyncio.Event()

    @agent.main
    async def main(ctx: Ctx) -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    pod = make_pod(agent, capacity=1)
    await pod.offer("r1", offer())
    await executing(pod)
    await pod.delete("r1")
    pod.tick(31)
    await pod.until("r1", "cancelled")
    await pod.ack("r1")
    assert pod.machine.state(0, "").capacity == 0
    assert (await pod.offer("r2", offer())).status == 429
    release.set()
    await pod.until_empty()
    assert (await pod.offer("r2", offer())).status == 202
    pod.drain()


async def test_without_the_grace(make_pod: MakePod) -> None:
    """Negative control: without rule 10 the run stays Running while its code does not stop."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx) -> None:
        cancels = 0
        while cancels < 2:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                cancels += 1

    pod = make_pod(agent, rules=without("cancel-grace"))
    await pod.offer("r1", offer())
    await executing(pod)
    await pod.delete("r1")
    pod.tick(1_000)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pod.until("r1", "cancelled"), 0.3)


async def test_sync_step_that_does_not_return(make_pod: MakePod) -> None:
    """A cancelled run whose thread goes on is listed at once; its slot is held until the thread ends."""
    agent = Agent("a")
    began, release = threading.Event(), threading.Event()

    @agent.step
    def hangs() -> None:
        began.set()
        release.wait()

    @agent.main
    async def main(ctx: Ctx) -> None:
        await hangs()

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    await asyncio.to_thread(began.wait)
    await pod.delete("r1")
    await pod.until("r1", "cancelled")
    await pod.ack("r1")
    assert not pod.machine.is_empty
    release.set()
    await pod.until_empty()


async def test_compensation(make_pod: MakePod) -> None:
    """on_cancel runs once the cancel is recorded, last one first; a failing one does not stop the others."""
    agent = Agent("a")
    undone: list[str] = []

    @agent.main
    async def main(ctx: Ctx) -> None:
        async def undo(what: str) -> None:
            undone.append(what)
            if what == "b":
                raise ValueError(what)

        for what in "abc":
            ctx.on_cancel(lambda what=what: undo(what))  # type: ignore[misc]
        await asyncio.Event().wait()

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    await executing(pod)
    await pod.delete("r1")
    await pod.until("r1", "cancelled")
    await pod.ack("r1")
    await pod.until_empty()
    assert undone == ["c", "b", "a"]


async def test_drain_at_a_step_boundary(make_pod: MakePod) -> None:
    """A drained run finishes the step that it is in, records it, and begins no other."""
    agent = Agent("a")
    ran: list[int] = []
    began, finish = asyncio.Event(), asyncio.Event()

    @agent.step
    async def slow(n: int) -> None:
        ran.append(n)
        began.set()
        await finish.wait()

    @agent.main
    async def main(ctx: Ctx) -> None:
        await slow(1)
        await slow(2)

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    await began.wait()
    pod.drain()
    finish.set()
    listed = await pod.until("r1", "drained")
    assert (listed.steps, ran) == (1, [1])


async def test_superseded_records_no_outcome(make_pod: MakePod) -> None:
    """A superseded execution is listed as drained, and the run goes on elsewhere."""
    pod = make_pod(looping())
    await pod.offer("r1", offer())
    await pod.delete("r1", reason="superseded")
    await pod.until("r1", "drained")
    other = make_pod(looping(), uid="pod-2")
    await other.offer("r1", offer(2))
    await other.until("r1", "running")
    other.drain()


def test_stops_are_no_exceptions() -> None:
    """Parked and Fenced pass through ``except Exception``, which frameworks write."""
    assert not issubclass(Parked, Exception)
    assert not issubclass(Fenced, Exception)


async def test_end_by_the_pod_itself_fences_the_code(make_pod: MakePod) -> None:
    """Once the pod has committed the end, the code's commits are refused, at its own epoch."""
    agent, _, go = resuming(3)
    pod = make_pod(agent)
    await pod.offer("r1", offer())
    end = Batch(end=End("cancelled", b"{}"))
    result = pod.worker.submit(lambda j: j.commit(Owner("r1", 1), end, max_steps=0, now=clock.now().wall)).result()
    assert result.status == "committed"
    go.set()
    async with asyncio.timeout(10):
        while pod.driver._runner._executions:
            await asyncio.sleep(0.001)
    assert pod.worker.submit(lambda j: len(j.load("r1").steps)).result() <= 2
