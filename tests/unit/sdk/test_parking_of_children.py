"""When a run with several branches parks: once all of them wait, and not while one has just been told to go on."""

from datetime import timedelta
from typing import Any

import pytest

from pinfleet import Agent, Ctx
from pinfleet.testing import Fleet

LONG = timedelta(days=3)


def noting() -> tuple[Agent, Any, list[str]]:
    """Return an agent, its one step, and what that was called for."""
    agent, ran = Agent("a"), list[str]()

    @agent.step
    async def note(what: str) -> str:
        ran.append(what)
        return what

    return agent, note, ran


@pytest.mark.parametrize("limit", [1, 2])
async def test_the_last_child_ends_inside_a_timeout(pinfleet: Fleet, limit: int) -> None:
    """A wake that ends the last child of ctx.map lets the code around it go on; it does not park on the timeout."""
    agent, note, ran = noting()

    @agent.main
    async def main(ctx: Ctx) -> str:
        async def child(n: int) -> str:
            if n:
                await ctx.sleep(timedelta(hours=1))
            return str(await note(f"child {n}"))

        async with ctx.timeout(LONG):
            await ctx.map(child, range(2), limit=limit)
        return str(await note("after"))

    run = await pinfleet.start(agent)
    assert len(run.waiting_for) == 2
    await run.advance(hours=1)
    assert (run.state, ran) == ("succeeded", ["child 0", "child 1", "after"])


async def test_a_branch_goes_on_beside_one_that_sleeps(pinfleet: Fleet) -> None:
    """What follows a branch's own children is not put off until a sibling's long sleep is over."""
    agent, note, ran = noting()

    @agent.main
    async def main(ctx: Ctx) -> str:
        async def works() -> None:
            await ctx.gather(note("one"), note("two"))
            await note("three")
            await ctx.gather(ctx.sleep(timedelta(hours=1)), ctx.sleep(timedelta(hours=2)))
            await note("four")

        await ctx.gather(works(), ctx.sleep(LONG))
        return "done"

    run = await pinfleet.start(agent)
    assert ran == ["one", "two", "three"]
    assert len(run.waiting_for) == 3
    await run.advance(hours=2)
    assert (run.state, ran[3:], len(run.waiting_for)) == ("parked", ["four"], 1)
    await run.advance(days=3)
    assert await run.result() == "done"


async def test_a_turn_goes_to_the_next_child(pinfleet: Fleet) -> None:
    """A child whose turn has come begins, though all others sleep."""
    agent, note, ran = noting()

    @agent.main
    async def main(ctx: Ctx) -> int:
        async def child(n: int) -> None:
            await (ctx.sleep(LONG) if n == 0 else note(str(n)))

        await ctx.map(child, range(6), limit=2)
        return len(ran)

    run = await pinfleet.start(agent)
    assert (run.state, ran) == ("parked", ["1", "2", "3", "4", "5"])
    await run.advance(days=3)
    assert await run.result() == 5
