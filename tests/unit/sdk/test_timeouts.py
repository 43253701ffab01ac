"""ctx.timeout: a bound that expires at the same place on every execution."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from pinfleet.agent import Agent
from pinfleet.call import Call
from pinfleet.context import Ctx
from pinfleet.errors import OutcomeUnknown
from pinfleet.testing import Fleet


async def test_it_expires_while_the_run_is_parked(pinfleet: Fleet) -> None:
    """A wait inside is ended by it, on the pod that wakes for it; what comes after goes on."""
    agent = Agent("a")

    @agent.step
    async def note(n: int) -> int:
        return n

    @agent.main
    async def main(ctx: Ctx) -> list[Any]:
        said: list[Any] = []
        try:
            async with ctx.timeout(timedelta(hours=2)):
                said.append(await note(1))
                await ctx.sleep(timedelta(days=1))
                said.append("slept")
        except TimeoutError:
            said.append("expired")
        await ctx.sleep(timedelta(days=1))
        return [*said, await note(2)]

    run = await pinfleet.start(agent)
    assert sorted(wait.name for wait in run.waiting_for) == ["ctx.sleep", "ctx.timeout"]
    await run.advance(hours=2)
    await run.lose_pod()
    await run.advance(days=1)
    assert (await run.result(), run.executed("note")) == ([1, "expired", 2], 2)


async def test_it_passes(pinfleet: Fleet) -> None:
    """Code that ends in time is not disturbed, however long the run goes on after it; likewise on replay."""
    agent = Agent("a")

    @agent.step
    async def note(n: int) -> int:
        return n

    @agent.main
    async def main(ctx: Ctx) -> list[int]:
        async with ctx.timeout(60):
            said = [await note(1)]
        await ctx.sleep(timedelta(days=1))
        async with ctx.timeout(60):
            said.append(await note(2))
        return said

    run = await pinfleet.start(agent)
    assert [wait.name for wait in run.waiting_for] == ["ctx.sleep"]
    await run.advance(days=1)
    assert await run.result() == [1, 2]


@pytest.mark.parametrize("between", ["nothing", "a bare await"])
async def test_a_replay_expires_where_it_expired(pinfleet: Fleet, between: str) -> None:
    """What the code was given before the expiry it is given again, and nothing more, wherever it was cancelled."""
    agent = Agent("a")
    hangs = asyncio.Event()
    seen: list[list[Any]] = []

    @agent.step
    async def note(n: int) -> int:
        if n == 3:
            await hangs.wait()
        return n

    @agent.main
    async def main(ctx: Ctx) -> list[Any]:
        said: list[Any] = []
        try:
            async with ctx.timeout(0.2):
                for n in (1, 2, 3):
                    said.append(await note(n))
                    if between == "a bare await" and n == 2:
                        await hangs.wait()
        except TimeoutError:
            said.append("expired")
        seen.append(list(said))
        await ctx.sleep(timedelta(days=1))
        return said

    run = await pinfleet.start(agent)
    await run.lose_pod()
    await run.advance(days=1)
    assert await run.result() == [1, 2, "expired"]
    assert seen == [[1, 2, "expired"]] * len(seen)
    assert run.executed("note") == (3 if between == "nothing" else 2)


async def test_a_call_that_it_cancels_is_in_doubt(pinfleet: Fleet) -> None:
    """A tool that was under way is unknown afterwards, and is not sent again."""
    agent = Agent("a")

    @agent.tool
    async def pay(call: Call) -> str:
        await asyncio.Event().wait()
        return "?"

    @agent.main
    async def main(ctx: Ctx) -> str:
        try:
            async with ctx.timeout(0.1):
                return await pay()
        except TimeoutError:
            pass
        await ctx.sleep(60)
        try:
            return await pay()
        except OutcomeUnknown:
            return "in doubt"

    run = await pinfleet.start(agent)
    await run.advance(minutes=1)
    assert (await run.result(), run.sent("pay")) == ("in doubt", 1)


async def test_it_bounds_children_and_nests(pinfleet: Fleet) -> None:
    """Children of gather end with it; the inner of two that expires leaves the outer one."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx) -> list[str]:
        said: list[str] = []
        async with ctx.timeout(timedelta(days=3)):
            try:
                async with ctx.timeout(timedelta(days=1)):
                    await ctx.gather(ctx.sleep(timedelta(days=2)), ctx.sleep(timedelta(days=4)))
            except TimeoutError:
                said.append("inner")
            await ctx.sleep(timedelta(days=1))
        return [*said, "outer passed"]

    run = await pinfleet.start(agent)
    await run.advance(days=2)
    assert await run.result() == ["inner", "outer passed"]


async def test_its_time_goes_on_while_the_pod_is_away(pinfleet: Fleet) -> None:
    """A bound is counted from its first entry, not from the newest pod's."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx) -> str:
        try:
            async with ctx.timeout(timedelta(hours=3)):
                await ctx.receive(str)
        except TimeoutError:
            return "expired"
        return "?"

    run = await pinfleet.start(agent)
    for _ in range(3):
        await run.advance(hours=1)
        await run.lose_pod()
    assert await run.result() == "expired"


@pytest.mark.parametrize("kind", ["map", "gather", "sleep", "receive"])
async def test_what_follows_keeps_its_identity(pinfleet: Fleet, kind: str) -> None:
    """A replay of a timeout that expired before anything inside was given names what comes after it as before."""
    agent = Agent("a")

    @agent.tool(resend=True)
    async def pay(call: Call, n: int) -> int:
        return n

    @agent.main
    async def main(ctx: Ctx) -> list[int]:
        async def long(n: int) -> int:
            await ctx.sleep(timedelta(days=1))
            return n

        async def twice(after: bool) -> list[int]:  # noqa: FBT001 - the same calls, inside and after
            if kind == "map":
                return list(await ctx.map(pay if after else long, [1, 2]))
            if kind == "gather":
                return list(await ctx.gather(*((pay if after else long)(n) for n in (1, 2))))
            if kind == "receive" and not after:
                await ctx.receive(str)
            if not after:
                await ctx.sleep(timedelta(days=1))
            return [await pay(1), await pay(2)]

        try:
            async with ctx.timeout(timedelta(hours=1)):
                await twice(after=False)
        except TimeoutError:
            paid = await twice(after=True)
        await ctx.sleep(timedelta(hours=1))
        return paid

    run = await pinfleet.start(agent)
    await run.advance(hours=1)
    await run.lose_pod()
    await run.advance(hours=1)
    assert await run.result() == [1, 2]
    assert run.sent("pay") == 2
