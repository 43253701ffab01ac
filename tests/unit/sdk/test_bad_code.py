"""Step functions that misbehave cost their own run at most, and say what they did."""

import asyncio
import logging
import threading
from typing import Any

import pytest

from pinfleet.agent import Agent
from pinfleet.call import Call
from pinfleet.context import Ctx
from pinfleet.errors import OutcomeUnknown, StepFailed, ToolFailed
from pinfleet.testing import Fleet
from tests.unit.sdk.conftest import MakePod, ServePod
from tests.unit.sdk.inline_pod import offer


@pytest.mark.parametrize("raised", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), MemoryError()])
async def test_a_tool_that_raises(pinfleet: Fleet, raised: BaseException) -> None:
    """Whatever it raises is ToolFailed with its name, and the run goes on; the pod's process is not ended by it."""
    agent = Agent("a")

    @agent.tool
    def sync_tool(call: Call) -> None:
        raise raised

    @agent.main
    async def main(ctx: Ctx) -> str:
        try:
            await sync_tool()
        except ToolFailed as err:
            return err.type
        return "?"

    assert await (await pinfleet.start(agent)).result() == type(raised).__name__


async def test_a_step_that_blocks_the_loop(serve_pod: ServePod) -> None:
    """The pod answers while author code blocks its loop, and lists the run."""
    pod = serve_pod()
    assert pod.offer(steps=1, then="block").status == 202
    assert pod.until_listed("running")["uid"] == "r1"
    pod.go()
    pod.until_listed("succeeded")


async def test_a_step_that_spawns_threads(pinfleet: Fleet) -> None:
    """A bare thread has no run's context: a step that it calls outside is a plain call here, and records nothing."""
    agent = Agent("a")
    said: list[object] = []

    @agent.step
    async def inner() -> str:
        return "ran"

    def work() -> None:
        said.append(asyncio.run(inner()))

    @agent.step
    def spawns() -> str:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return "done"

    @agent.main
    async def main(ctx: Ctx) -> str:
        return await spawns()

    run = await pinfleet.start(agent)
    assert (await run.result(), said, run.executed("inner"), run.steps) == ("done", ["ran"], 0, 1)


async def test_a_step_that_leaves_a_task_behind(make_pod: MakePod, caplog: pytest.LogCaptureFixture) -> None:
    """The task holds the slot, and a warning names it."""
    agent = Agent("a")
    release, kept = asyncio.Event(), list[asyncio.Task[Any]]()

    @agent.step
    async def leaves() -> None:
        kept.append(asyncio.create_task(release.wait(), name="left by leaves"))

    @agent.main
    async def main(ctx: Ctx) -> None:
        await leaves()

    pod = make_pod(agent)
    with caplog.at_level(logging.WARNING):
        await pod.offer("r1", offer())
        await pod.until("r1", "succeeded")
        await pod.ack("r1")
        async with asyncio.timeout(10):
            while "holds its slot" not in caplog.text:  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.01)
    assert not pod.machine.is_empty
    assert [record.left for record in caplog.records if hasattr(record, "left")] == [["left by leaves"]]
    release.set()
    await pod.until_empty()


async def test_a_step_that_exits_the_process(serve_pod: ServePod) -> None:
    """The pod is lost; another takes the run over, and what was recorded is not run again."""
    first = serve_pod("pod-1")
    first.offer(steps=2, then="exit")
    assert first.wait() == 7
    second = serve_pod("pod-2")
    second.offer(epoch=2, steps=2, then="exit", previous={"podUID": "pod-1", "isGone": True})
    second.until_listed("succeeded")
    assert [line["n"] for line in second.trace()] == [0, 1]


async def test_a_step_that_hangs_ends_with_its_run(make_pod: MakePod) -> None:
    """Active seconds bound it: the run ends at the limit, whatever the step does."""
    agent = Agent("a")
    began, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    @agent.step
    def hangs() -> None:
        loop.call_soon_threadsafe(began.set)
        release.wait()

    @agent.main
    async def main(ctx: Ctx) -> None:
        await hangs()

    pod = make_pod(agent)
    await pod.offer("r1", offer(active_seconds_left=50.0))
    await began.wait()
    pod.tick(51)
    listed = await pod.until("r1", "limit")
    assert listed.outcome is not None
    assert listed.outcome.limit == "active"
    release.set()
    await pod.ack("r1")
    await pod.until_empty()


@pytest.mark.parametrize("swallows", ["step", "tool"])
async def test_a_body_that_swallows_its_cancel(make_pod: MakePod, swallows: str) -> None:
    """What it returns after the run was cancelled is not recorded, and the cancel stands."""
    agent = Agent("a")
    began = asyncio.Event()

    async def stubborn() -> str:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "swallowed"
        return "?"

    @agent.step
    async def step() -> str:
        return await stubborn()

    @agent.tool
    async def tool(call: Call) -> str:
        return await stubborn()

    @agent.main
    async def main(ctx: Ctx) -> str:
        return await (step() if swallows == "step" else tool())

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    await began.wait()
    await pod.delete("r1")
    assert (await pod.until("r1", "cancelled")).steps == 0
    await pod.ack("r1")
    await pod.until_empty()


async def test_code_that_swallows_everything_cannot_tell_doubt_from_success(pinfleet: Fleet) -> None:
    """A framework that turns every Exception into text meets OutcomeUnknown again, and pays once."""
    agent = Agent("a")

    @agent.tool
    async def pay(call: Call) -> str:
        raise TimeoutError

    @agent.main
    async def main(ctx: Ctx) -> list[str]:
        said = []
        for _ in range(3):
            try:
                said.append(await pay())
            except Exception as err:  # noqa: BLE001 - what a framework does
                said.append(type(err).__name__)
        return said

    run = await pinfleet.start(agent)
    assert (await run.result(), run.sent("pay")) == ([OutcomeUnknown.__name__] * 3, 1)


async def test_an_error_that_cannot_be_read(pinfleet: Fleet) -> None:
    """Its failure is recorded even if describing it fails."""
    agent = Agent("a")

    class Odd(Exception):
        def __str__(self) -> str:
            raise OSError

    @agent.step
    async def odd() -> None:
        raise Odd

    @agent.main
    async def main(ctx: Ctx) -> list[str]:
        try:
            await odd()
        except StepFailed as err:
            return [err.type, err.message]
        return []

    assert await (await pinfleet.start(agent)).result() == ["Odd", "(its text cannot be read: OSError)"]
