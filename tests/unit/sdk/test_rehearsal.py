"""Open runs against other code, with execution off: they go on, or it is said why not."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import pinfleet
from pinfleet.errors import BadDeclaration
from pinfleet.journal.sqlite import SqliteJournal
from pinfleet.local import LocalFleet
from pinfleet.position import POSITION
from pinfleet.rehearsal import Rehearsal, Verdict
from pinfleet.testing import Fleet

Declare = Callable[[pinfleet.Agent], Any]


def agent_of(declare: Declare) -> tuple[pinfleet.Agent, list[str]]:
    """An agent, and what its steps' bodies were called for."""
    agent, executed = pinfleet.Agent("shop"), list[str]()
    declare_steps(agent, executed)
    agent.main(declare(agent))
    return agent, executed


def declare_steps(agent: pinfleet.Agent, executed: list[str]) -> None:
    """The steps that every version has, but for their names."""

    @agent.step
    async def find(order: str) -> str:
        executed.append(f"find {order}")
        return order

    @agent.tool(resend=True)
    async def charge(call: pinfleet.Call, cents: int) -> str:
        executed.append(f"charge {cents} {call.key}")
        return "receipt"

    @agent.step
    async def thank() -> str:
        executed.append("thank")
        return "thanks"


def as_recorded(agent: pinfleet.Agent) -> Any:
    """find, charge, three days, thank."""
    step = steps_of(agent)

    async def main(ctx: pinfleet.Ctx) -> str:
        await step["find"]("o-1")
        await step["charge"](100)
        await ctx.sleep(timedelta(days=3))
        return str(await step["thank"]())

    return main


def steps_of(agent: pinfleet.Agent) -> dict[str, Any]:
    """The agent's steps as its code calls them."""
    return {name: _called(agent, name) for name in agent.steps}


def _called(agent: pinfleet.Agent, name: str) -> Any:
    async def call(*args: object) -> Any:
        position = POSITION.get()
        assert position is not None
        return await position.execution.run_step(agent.steps[name], args, {})

    return call


@pytest.fixture
async def recorded(tmp_path: Path) -> Path:
    """A journal in which a run of the first version waits between its second and third step."""
    agent, _ = agent_of(as_recorded)
    path = tmp_path / "journal.db"
    async with LocalFleet(agent, lambda: SqliteJournal(path), version="v1", park_after_seconds=0.0) as fleet:
        run = await fleet.start("shop-1")
        async with asyncio.timeout(20):
            await run.until(lambda r: r.is_parked)
    return path


async def rehearsed(path: Path, declare: Declare, **options: Any) -> tuple[Verdict, list[str]]:
    """Rehearse the recorded run with other code."""
    journal = SqliteJournal(path)
    history = journal.load("shop-1")
    journal.close()
    agent, executed = agent_of(declare)
    for former, to in options.pop("renamed", ()):
        agent.renamed(former, to=to)
    return await Rehearsal(agent, uid="shop-1", name="shop-1", given=b"null", history=history).rehearse(), executed


async def test_the_same_code_goes_on(recorded: Path) -> None:
    """The code that recorded a run goes on where it stopped, and nothing of it is executed."""
    verdict, executed = await rehearsed(recorded, as_recorded)
    assert (verdict.kind, verdict.read, executed) == ("goes on", 2, [])


async def test_more_steps_at_the_end_go_on(recorded: Path) -> None:
    """Code that asks for another step after the recorded ones goes on with it."""

    def declare(agent: pinfleet.Agent) -> Any:
        step = steps_of(agent)

        async def main(ctx: pinfleet.Ctx) -> str:
            await step["find"]("o-1")
            await step["charge"](100)
            return str(await step["thank"]())

        return main

    verdict, executed = await rehearsed(recorded, declare)
    assert (verdict, executed) == (Verdict("goes on", 2, "with thank#1"), [])


async def test_code_that_ends_early_is_incompatible(recorded: Path) -> None:
    """Code that ends before it has asked for every recorded step cannot have the run."""

    def declare(agent: pinfleet.Agent) -> Any:
        step = steps_of(agent)

        async def main(ctx: pinfleet.Ctx) -> str:
            return str(await step["find"]("o-1"))

        return main

    verdict, _ = await rehearsed(recorded, declare)
    assert verdict.kind == "incompatible"
    assert verdict.why == ('run shop-1 recorded tool "charge" #1 on v1; this code ends before it. It stays on v1')


async def test_another_order_is_incompatible(recorded: Path) -> None:
    """Code that asks for a new step where another one is recorded cannot have the run."""

    def declare(agent: pinfleet.Agent) -> Any:
        step = steps_of(agent)

        async def main(ctx: pinfleet.Ctx) -> str:
            await step["thank"]()
            await step["find"]("o-1")
            return str(await step["charge"](100))

        return main

    verdict, executed = await rehearsed(recorded, declare)
    assert (verdict.kind, executed) == ("incompatible", [])
    assert "asks for thank#1" in verdict.why


async def test_other_arguments_of_a_tool_are_incompatible(recorded: Path) -> None:
    """A tool that was called with other arguments than the code now gives it is another call."""

    def declare(agent: pinfleet.Agent) -> Any:
        step = steps_of(agent)

        async def main(ctx: pinfleet.Ctx) -> str:
            await step["find"]("o-1")
            return str(await step["charge"](200))

        return main

    verdict, _ = await rehearsed(recorded, declare)
    assert verdict.kind == "incompatible"
    assert "with other arguments" in verdict.why


def renaming(agent: pinfleet.Agent) -> Any:
    """The tool has another name now."""
    spec = agent.steps.pop("charge")
    agent.tool(name="charge_card", resend=True)(spec.function)
    step = steps_of(agent)

    async def main(ctx: pinfleet.Ctx) -> str:
        await step["find"]("o-1")
        await step["charge_card"](100)
        await ctx.sleep(timedelta(days=3))
        return str(await step["thank"]())

    return main


async def test_a_renamed_tool_is_found_by_its_former_name(recorded: Path) -> None:
    """Another name is another tool, and the message says what to write; once that is written, it is the same one."""
    verdict, _ = await rehearsed(recorded, renaming)
    assert verdict.kind == "incompatible"
    assert 'recorded tool "charge" #1 on v1; this code asks for charge_card#1' in verdict.why
    assert 'if it was renamed, add agent.renamed("charge", to="charge_card")' in verdict.why
    verdict, executed = await rehearsed(recorded, renaming, renamed=[("charge", "charge_card")])
    assert (verdict.kind, executed) == ("goes on", [])


async def test_a_renamed_tool_keeps_its_key(pinfleet: Fleet) -> None:
    """A call that was begun under the former name is sent again under the new one with the same key."""
    first, _ = agent_of(as_recorded)
    run = await pinfleet.start(first)
    key = run.keys("charge")[0]
    second, executed = agent_of(renaming)
    second.renamed("charge", to="charge_card")
    run._agent = second
    await run.advance(days=3)
    assert await run.result() == "thanks"
    assert (executed, run.keys("charge")) == (["thank"], [key])


def test_a_rename_names_what_is_declared() -> None:
    """A rename to an unknown step, or of one that is still there, is refused by name."""
    agent, _ = agent_of(as_recorded)
    with pytest.raises(BadDeclaration, match="declares no step 'pay'"):
        agent.renamed("charge", to="pay")
    with pytest.raises(BadDeclaration, match="still declares 'find'"):
        agent.renamed("find", to="charge")


async def test_what_a_person_was_asked_stays_asked(tmp_path: Path) -> None:
    """A run that waits for a person goes on with its own code: the request is bound to the run's uid, not its name."""
    agent = pinfleet.Agent("asks")

    @agent.main
    async def main(ctx: pinfleet.Ctx) -> str:
        return (await ctx.approve("ship", show={"to": "o-1"})).by

    path = tmp_path / "journal.db"
    async with LocalFleet(agent, lambda: SqliteJournal(path), park_after_seconds=0.0) as fleet:
        run = await fleet.start("asks-1", uid="8a1c")
        async with asyncio.timeout(20):
            await run.until(lambda r: r.is_parked)
    journal = SqliteJournal(path)
    history = journal.load("8a1c")
    journal.close()
    verdict = await Rehearsal(agent, uid="8a1c", name="asks-1", given=b"null", history=history).rehearse()
    assert verdict.kind == "goes on"
