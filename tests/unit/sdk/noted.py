"""Agents that note which of their steps ran, and waits for what a pod has come to; for tests of executions."""
# ruff: noqa: ASYNC110 - what is waited for happens in other threads, or has no event of its own

import asyncio
from datetime import timedelta
from typing import Any

from pinfleet.agent import Agent
from pinfleet.context import Ctx
from pinfleet.wire import RunListing
from tests.unit.sdk.inline_pod import InlinePod


def counting(agent: Agent) -> tuple[Any, list[int]]:
    """Give an agent a step that notes its executions."""
    ran: list[int] = []

    @agent.step
    async def note(n: int) -> int:
        ran.append(n)
        return n * 10

    return note, ran


async def recorded(pod: InlinePod, steps: int) -> None:
    """Wait until run r1 has so many steps in the journal."""
    async with asyncio.timeout(10):
        while pod.worker.submit(lambda journal: len(journal.load("r1").steps)).result() < steps:
            await asyncio.sleep(0)


async def waits(pod: InlinePod) -> RunListing:
    """Wait until run r1 says what it waits for."""
    async with asyncio.timeout(10):
        while not (listed := pod.listing("r1")) or not listed.waiting_for:
            await asyncio.sleep(0.001)
    return listed


async def executing(pod: InlinePod) -> None:
    """Wait until the code of a run has begun."""
    async with asyncio.timeout(10):
        while not any(run.waiting.tasks for run in pod.driver._runner._executions.values()):
            await asyncio.sleep(0)
    await asyncio.sleep(0)  # the root runs up to its first await


def resuming(stop_at: int) -> tuple[Agent, list[int], asyncio.Event]:
    """Return an agent of five steps that blocks before one of them until told."""
    agent = Agent("a")
    note, ran = counting(agent)
    go = asyncio.Event()

    @agent.main
    async def main(ctx: Ctx) -> list[int]:
        values = []
        for n in range(1, 6):
            if n == stop_at:
                await go.wait()
            values.append(await note(n))
        return values

    return agent, ran, go


def looping() -> Agent:
    """Return an agent whose code goes on for ever, awaiting."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx) -> str:
        await asyncio.Event().wait()
        return "never"

    return agent


def sleeping(seconds: float) -> tuple[Agent, list[int]]:
    """Return an agent that takes a step, sleeps, and takes another."""
    agent = Agent("a")
    note, ran = counting(agent)

    @agent.main
    async def main(ctx: Ctx) -> str:
        await note(1)
        await ctx.sleep(timedelta(seconds=seconds))
        await note(2)
        return "done"

    return agent, ran
