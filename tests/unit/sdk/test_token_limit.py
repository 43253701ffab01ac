"""The limit of tokens: no step begins once recorded ones have used them, whatever the run lived through."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from pinfleet import Agent, Call, Ctx
from pinfleet.testing import Fleet, Run, RunFailed


def thinking(turns: int = 4, used: Callable[[Any], Any] = lambda _: 10) -> Agent:
    """Return an agent that thinks, keeps what it has so far, and sleeps between its thoughts."""
    agent = Agent("thinks")

    @agent.step(tokens=used)
    async def think(n: int) -> int:
        return n

    @agent.tool(tokens=used)
    async def ask(call: Call, n: int) -> int:
        return n

    @agent.main
    async def main(ctx: Ctx) -> int:
        for n in range(turns):
            ctx.partial({"thoughts": n})
            await (ask(n) if n % 2 else think(n))
            await ctx.sleep(timedelta(hours=1))
        return ctx.tokens

    return agent


async def all_hours(run: Run) -> None:
    """Let the sleeps pass."""
    for _ in range(4):
        await run.advance(hours=1)


async def test_a_run_ends_at_its_tokens(pinfleet: Fleet) -> None:
    """The step that would begin after the tokens are used does not; the run leaves its partial result and says why."""
    run = await pinfleet.start(thinking(), max_tokens=20)
    await all_hours(run)
    assert (run.state, run.outcome.limit, run.partial) == ("limit", "tokens", {"thoughts": 2})
    assert (run.executed("think"), run.sent("ask")) == (1, 1)
    with pytest.raises(RunFailed, match="tokens"):
        await run.result()


async def test_a_resume_resets_no_tokens(pinfleet: Fleet) -> None:
    """Each wake and each lost pod is another execution, and the tokens go on from what the journal holds."""
    run = await pinfleet.start(thinking(), max_tokens=20)
    for _ in range(2):
        await run.lose_pod()
        await run.advance(hours=1)
    assert (run.outcome.limit, run.executed("think"), run.sent("ask")) == ("tokens", 1, 1)


@pytest.mark.parametrize(("bound", "state"), [(39, "succeeded"), (30, "limit"), (None, "succeeded")])
async def test_the_limit_is_looked_at_before_each_call(pinfleet: Fleet, bound: int | None, state: str) -> None:
    """What is under way when the last token goes is recorded and paid for; only another call is not begun."""
    run = await pinfleet.start(thinking(), max_tokens=bound)
    await all_hours(run)
    assert run.state == state
    assert run.executed("think") + run.sent("ask") == (3 if state == "limit" else 4)


def broken(_: Any) -> int:
    """Fail, as a hook does that reads a field which a response lacks."""
    raise KeyError("usage")


@pytest.mark.parametrize("hook", [broken, lambda _: "many", lambda _: -5, lambda _: None])
async def test_a_hook_that_fails_costs_no_record(
    pinfleet: Fleet, caplog: pytest.LogCaptureFixture, hook: Callable[[Any], Any]
) -> None:
    """A step or call whose hook fails is recorded all the same, counts as no tokens, and the log says so."""
    run = await pinfleet.start(thinking(2, hook), max_tokens=20)
    await all_hours(run)
    assert await run.result() == 0
    assert (run.executed("think"), run.sent("ask")) == (1, 1)
    assert sum("tokens= gave no number" in record.message for record in caplog.records) == 2
