"""Runs that another version of the code has recorded, under the same schema: taken up only if the code goes on."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from pinfleet import Agent, Call, Ctx
from pinfleet.testing import Fleet, Run, RunFailed

RAN: list[str] = []
Main = Callable[[Ctx, dict[str, Any]], Any]


def version(main: Main) -> Agent:
    """Return an agent with three steps, and a main of its own."""
    agent = Agent("shop")

    @agent.step
    async def find(order: str) -> str:
        RAN.append("find")
        return order

    @agent.step
    async def screen(order: str) -> bool:
        RAN.append("screen")
        return True

    @agent.tool
    async def charge(call: Call, order: str) -> str:
        RAN.append("charge")
        return "receipt"

    steps = {"find": find, "screen": screen, "charge": charge}

    @agent.main
    async def entry(ctx: Ctx) -> str:
        return str(await main(ctx, steps))

    return agent


async def as_recorded(ctx: Ctx, step: dict[str, Any]) -> str:
    """Find, charge, wait, answer."""
    order = await step["find"]("o-1")
    receipt = await step["charge"](order)
    await ctx.sleep(timedelta(days=3))
    return f"{order} {receipt}"


async def more_at_the_end(ctx: Ctx, step: dict[str, Any]) -> str:
    """Screen after the wait."""
    said = await as_recorded(ctx, step)
    return f"{said} {await step['screen']('o-1')}"


async def inserted(ctx: Ctx, step: dict[str, Any]) -> str:
    """Screen before the charge."""
    order = await step["find"]("o-1")
    await step["screen"](order)
    return str(await step["charge"](order))


async def shortened(ctx: Ctx, step: dict[str, Any]) -> str:
    """Charge nothing."""
    return str(await step["find"]("o-1"))


async def readdressed(ctx: Ctx, step: dict[str, Any]) -> str:
    """Charge another order."""
    await step["find"]("o-1")
    return str(await step["charge"]("o-2"))


async def parked(pinfleet: Fleet) -> Run:
    """Return a run of the first version in its three days."""
    RAN.clear()
    return await pinfleet.start(version(as_recorded))


async def test_code_that_goes_on_takes_the_run(pinfleet: Fleet) -> None:
    """A version whose code asks for what is recorded, and then for more, goes on; nothing recorded runs again."""
    run = await parked(pinfleet)
    await run.move_to(version(more_at_the_end))
    await run.advance(days=3)
    assert await run.result() == "o-1 receipt True"
    assert RAN == ["find", "charge", "screen"]


@pytest.mark.parametrize(
    ("main", "said"),
    [(inserted, "asks for screen#1"), (shortened, "ends before it"), (readdressed, "with other arguments")],
)
async def test_code_that_does_not_fit_executes_nothing(pinfleet: Fleet, main: Main, said: str) -> None:
    """A version that would skip, insert or change what is recorded begins no step; the run goes on with its own."""
    run = await parked(pinfleet)
    await run.move_to(version(main))
    assert run.state == "incompatible"
    with pytest.raises(RunFailed, match=said):
        await run.result()
    assert RAN == ["find", "charge"]
    await run.move_to(version(as_recorded), version="v1")
    await run.advance(days=3)
    assert await run.result() == "o-1 receipt"
