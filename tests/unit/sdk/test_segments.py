"""Bounds, restarts and what a run leaves: nothing is reset by a resume or by a new segment."""

from dataclasses import dataclass
from datetime import timedelta

import pytest

from pinfleet.agent import Agent
from pinfleet.call import Call
from pinfleet.context import Ctx
from pinfleet.errors import OutcomeUnknown
from pinfleet.testing import Fleet, RunFailed


@dataclass(frozen=True)
class Turn:
    """Where a talk is."""

    left: int
    said: list[str]


def talking() -> Agent:
    """Return an agent that begins a new segment after each message."""
    agent = Agent("a")

    @agent.step
    async def note(text: str) -> str:
        return text.upper()

    @agent.main
    async def main(ctx: Ctx, turn: Turn) -> list[str]:
        said = [*turn.said, await note(await ctx.receive(str))]
        if turn.left:
            await ctx.restart(Turn(turn.left - 1, said))
        return said

    return agent


async def test_a_restart_begins_main_again_with_what_it_was_given(pinfleet: Fleet) -> None:
    """Each segment replays its own steps alone; steps are counted over all of them."""
    run = await pinfleet.start(talking(), Turn(2, []))
    for word in "abc":
        await run.send(word)
        await run.lose_pod() if run.state == "parked" else None
    assert (await run.result(), run.executed("note"), run.steps) == (["A", "B", "C"], 3, 3)
    assert [str(each["key"]) for event, each in run.events if event == "step"] == ["note#1", "note#2", "note#3"]


async def test_messages_that_nobody_took_are_the_next_segments(pinfleet: Fleet) -> None:
    """They keep their order, and one that a former segment took does not come again, whoever sends it again."""
    run = await pinfleet.start(talking(), Turn(2, []))
    await run.send("a", id="one")
    await run.send("a", id="one")
    await run.send("b")
    await run.send("c")
    assert await run.result() == ["A", "B", "C"]


async def test_a_restart_resets_no_bound(pinfleet: Fleet) -> None:
    """A run that restarts for ever ends at maxSteps, with what it left."""
    agent = Agent("a")

    @agent.step
    async def note(n: int) -> int:
        return n

    @agent.main
    async def main(ctx: Ctx, n: int) -> None:
        ctx.partial({"reached": await note(n)})
        await ctx.restart(n + 1)

    run = await pinfleet.start(agent, 1, max_steps=4)
    assert (run.state, run.outcome.limit, run.steps, run.partial) == ("limit", "steps", 4, {"reached": 4})


async def test_doubt_outlives_a_segment(pinfleet: Fleet) -> None:
    """A call in doubt is the same doubt in the next segment: it is not sent again."""
    agent = Agent("a")

    @agent.tool
    async def pay(call: Call, cents: int) -> str:
        raise TimeoutError

    @agent.main
    async def main(ctx: Ctx, turn: int) -> str:
        try:
            return await pay(5)
        except OutcomeUnknown:
            if turn:
                await ctx.restart(turn - 1)
            return "in doubt"

    run = await pinfleet.start(agent, 2)
    assert (await run.result(), run.sent("pay")) == ("in doubt", 1)


async def test_a_restart_takes_an_input_of_main(pinfleet: Fleet) -> None:
    """What main could not read is refused before anything is thrown away."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx, turn: Turn) -> None:
        await ctx.restart({"left": "many"})

    with pytest.raises(RunFailed, match=r"BadInput: ctx.restart\(state\) becomes main's input"):
        await (await pinfleet.start(agent, Turn(1, []))).result()


async def test_a_partial_result_outlives_its_pod(pinfleet: Fleet) -> None:
    """The newest one that was committed is left, also by a pod that hits the limit at once."""
    agent = Agent("a")

    @agent.step
    async def note(n: int) -> int:
        return n

    @agent.main
    async def main(ctx: Ctx) -> None:
        for n in (1, 2):
            ctx.partial([n])
            await note(n)
        await ctx.sleep(timedelta(hours=1))
        await note(3)

    run = await pinfleet.start(agent, max_steps=2)
    await run.advance(hours=1)
    assert (run.state, run.partial) == ("limit", [2])


@pytest.mark.parametrize(("value", "kind"), [(object(), "NotStorable"), ("x" * 20_000, "ResultTooLarge")])
async def test_a_partial_result_that_cannot_be_held(pinfleet: Fleet, value: object, kind: str) -> None:
    """It is refused where it is given."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx) -> None:
        ctx.partial(value)

    with pytest.raises(RunFailed, match=kind):
        await (await pinfleet.start(agent)).result()


async def test_tokens_are_counted_by_a_hook(pinfleet: Fleet) -> None:
    """tokens= reads what a recorded response used; a replay counts it once, over all executions."""
    agent = Agent("a")

    @agent.step(tokens=lambda response: response["used"])
    async def think(used: int) -> dict[str, int]:
        return {"used": used}

    @agent.main
    async def main(ctx: Ctx) -> int:
        await think(7)
        await ctx.sleep(timedelta(hours=1))
        await think(8)
        return ctx.tokens

    run = await pinfleet.start(agent)
    await run.advance(hours=1)
    assert await run.result() == 15


async def test_what_is_emitted_is_numbered(pinfleet: Fleet) -> None:
    """ctx.emit says (epoch, seq), so that a reader can drop what a stale owner still says."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx) -> None:
        ctx.emit("a")
        await ctx.sleep(timedelta(hours=1))
        ctx.emit("b")

    run = await pinfleet.start(agent)
    await run.advance(hours=1)
    assert run.emitted == ["a", "a", "b"]
    numbered = [(each["epoch"], each["seq"]) for event, each in run.events if event == "emit"]
    assert numbered == [(1, 1), (2, 1), (2, 2)]
