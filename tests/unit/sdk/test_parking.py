"""Runs executed in a pod without sockets: when they give the pod back, and what wakes them."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from pinfleet import clock
from pinfleet.agent import Agent
from pinfleet.context import Ctx
from pinfleet.rules import without
from tests.unit.sdk.conftest import MakePod
from tests.unit.sdk.inline_pod import offer
from tests.unit.sdk.noted import counting, sleeping, waits


async def test_park_and_wake_by_the_offer(make_pod: MakePod) -> None:
    """Rule 15: a parked run wakes on another pod by the timer that the offer names, whatever this clock says."""
    agent, ran = sleeping(3600)
    first, second = make_pod(agent), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(1))
    (timer,) = (await first.until("r1", "parked")).waiting_for
    assert (timer.kind, timer.name) == ("Timer", "ctx.sleep")
    await first.ack("r1")
    await first.until_empty()
    await second.offer("r1", offer(2, timers_fired=(timer.id,)))
    await second.until("r1", "succeeded")
    assert ran == [1, 2]


async def test_wake_without_rule_15(make_pod: MakePod) -> None:
    """Negative control: by its own clock alone the run finds the timer not due and parks again."""
    agent, _ = sleeping(3600)
    first, second = make_pod(agent), make_pod(agent, uid="pod-2", rules=without("timers-fired"))
    await first.offer("r1", offer(1))
    (timer,) = (await first.until("r1", "parked")).waiting_for
    await second.offer("r1", offer(2, timers_fired=(timer.id,)))
    await second.until("r1", "parked")


async def test_wake_by_its_own_clock(make_pod: MakePod, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer that this clock has passed fires without being named."""
    agent, ran = sleeping(3600)
    first = make_pod(agent)
    await first.offer("r1", offer(1))
    await first.until("r1", "parked")
    real = clock.now
    later = timedelta(hours=2)
    monkeypatch.setattr(clock, "now", lambda: clock.Moment(real().wall + later, real().monotonic))
    second = make_pod(agent, uid="pod-2")
    await second.offer("r1", offer(2))
    await second.until("r1", "succeeded")
    assert ran == [1, 2]


async def test_fired_timer_stays_fired(make_pod: MakePod) -> None:
    """A timer that fired by the offer is recorded with the next step: the next pod does not wait for it again."""
    agent = Agent("a")
    note, _ = counting(agent)

    @agent.main
    async def main(ctx: Ctx) -> str:
        await ctx.sleep(3600)
        await note(1)
        await ctx.sleep(7200)
        return "done"

    pods = [make_pod(agent, uid=f"pod-{n}") for n in range(3)]
    await pods[0].offer("r1", offer(1))
    (one,) = (await pods[0].until("r1", "parked")).waiting_for
    await pods[1].offer("r1", offer(2, timers_fired=(one.id,)))
    (two,) = (await pods[1].until("r1", "parked")).waiting_for
    await pods[2].offer("r1", offer(3, timers_fired=(two.id,)))
    await pods[2].until("r1", "succeeded")


async def test_short_sleep_stays_warm(make_pod: MakePod) -> None:
    """A wait shorter than the parking threshold keeps its pod, and is told."""
    agent, ran = sleeping(0.2)
    pod = make_pod(agent)
    await pod.offer("r1", offer())
    await pod.until("r1", "succeeded")
    assert ran == [1, 2]


async def test_warm_wait_fires_by_the_same_epoch(make_pod: MakePod) -> None:
    """The same epoch offered again updates a live run: its timer fires."""
    agent, _ = sleeping(9)
    pod = make_pod(agent)
    await pod.offer("r1", offer())
    listed = await waits(pod)
    await pod.offer("r1", offer(timers_fired=(listed.waiting_for[0].id,)))
    await pod.until("r1", "succeeded")


async def test_swallowed_park(make_pod: MakePod) -> None:
    """Code that catches everything cannot keep a parked run: what it does afterwards is refused and ignored."""
    agent = Agent("a")
    note, ran = counting(agent)
    seen: list[str] = []

    @agent.main
    async def main(ctx: Ctx) -> str:
        try:
            await ctx.sleep(3600)
        except BaseException:  # noqa: BLE001 - what a framework does
            try:
                await note(1)
            except Exception:  # noqa: BLE001
                seen.append("an Exception")
            except BaseException as err:  # noqa: BLE001
                seen.append(type(err).__name__)
        return "swallowed"

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    await pod.until("r1", "parked")
    await pod.ack("r1")
    await pod.until_empty()
    assert (ran, seen) == ([], ["Parked"])


async def test_parks_only_when_all_wait(make_pod: MakePod) -> None:
    """A run parks once the root and all children wait; one that works keeps the pod."""
    agent = Agent("a")
    finish = asyncio.Event()

    @agent.step
    async def work() -> None:
        await finish.wait()

    async def worker(ctx: Ctx) -> None:
        await work()
        await ctx.sleep(7200)

    @agent.main
    async def main(ctx: Ctx) -> None:
        await ctx.gather(ctx.sleep(3600), worker(ctx))

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    listed = await waits(pod)
    assert listed.state == "running"
    finish.set()
    listed = await pod.until("r1", "parked")
    assert [wait.id for wait in listed.waiting_for] == ["gather1/0/ctx.sleep#1", "gather1/1/ctx.sleep#1"]


async def test_code_of_its_own_keeps_the_pod(make_pod: MakePod) -> None:
    """A wait inside a bare TaskGroup is not known to be all: the run stays, and says Code."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.sleep(3600))

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    listed = await pod.changed(lambda run: any(wait.kind == "Code" for wait in run.waiting_for), "r1")
    assert (listed.state, [wait.kind for wait in listed.waiting_for]) == ("running", ["Timer", "Code"])
    pod.drain()
    await pod.until("r1", "drained")


async def test_detached_task_holds_the_slot(make_pod: MakePod) -> None:
    """A task that outlives its run holds the slot until it ends."""
    agent = Agent("a")
    release = asyncio.Event()
    kept: list[asyncio.Task[Any]] = []

    @agent.main
    async def main(ctx: Ctx) -> str:
        kept.append(asyncio.create_task(release.wait(), name="left over"))
        return "done"

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    await pod.until("r1", "succeeded")
    await pod.ack("r1")
    assert not pod.machine.is_empty
    release.set()
    await pod.until_empty()
