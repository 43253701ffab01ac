"""The pod goes right before, and right after, every commit of runs that use all that an author has."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pinfleet.agent import Agent
from pinfleet.call import Call
from pinfleet.context import Ctx
from pinfleet.errors import NotSent, OutcomeUnknown
from pinfleet.rules import without
from pinfleet.testing import Run, kill_everywhere
from pinfleet.testing.kill import Kill, Plan
from tests.unit.sdk.fleets import Fleet, empty


@dataclass(frozen=True)
class Reply:
    """What a customer answers."""

    cents: int


LEDGER = Path(tempfile.mkdtemp()) / "effects"  # a file, since a process that is killed takes its memory with it


def effects(bank: str) -> list[str]:
    """Return what a bank has done, as it was told: a key and a thing."""
    return [line for line in LEDGER.read_text().splitlines() if line.startswith(bank)]


def act(bank: str, call: Call, what: object) -> None:
    """Do it; the honest bank does the same key once."""
    line = f"{bank} {call.key} {what}"
    if bank == "plain" or line not in effects(bank):
        with LEDGER.open("a") as file:
            file.write(line + "\n")


@contextmanager
def banks() -> Iterator[None]:
    """Begin with banks that have done nothing: one that honours keys, and one that does not."""
    LEDGER.write_text("")
    yield
    done = effects("honest") + effects("plain")
    assert len(done) == len(set(done)), "an effect was doubled"


async def look_up(call: Call, what: str) -> str:
    """Say whether the plain bank has it."""
    if f"plain {call.key} {what}" not in effects("plain"):
        raise NotSent
    return what


def everything() -> Agent:
    """Return an agent with steps, values, timers, messages, approvals, branches, bounds and every kind of tool."""
    agent = Agent("everything")

    @agent.step
    def double(n: int) -> int:
        return 2 * n

    @agent.tool(resend=True, approve=lambda cents: cents > 50, show=("cents",))
    async def charge(call: Call, cents: int) -> int:
        act("honest", call, cents)
        return cents

    @agent.tool
    async def post(call: Call, what: str) -> str:
        act("plain", call, what)
        return what

    @agent.tool(reconcile=look_up)
    async def ship(call: Call, what: str) -> str:
        act("plain", call, what)
        return what

    @agent.main
    async def main(ctx: Ctx, first: int) -> list[Any]:
        async def branch(n: int) -> int:
            doubled = await double(n)
            await ctx.sleep(timedelta(hours=n))
            return doubled + await double(doubled)

        token = ctx.uuid()
        said: list[Any] = [await double(first)]
        async with ctx.timeout(timedelta(days=9)):
            reply = await ctx.receive(Reply, within=timedelta(days=7))
        said.append(await charge(reply.cents))
        said += await ctx.map(branch, [1, 2])
        try:
            said.append(await post("a letter"))
        except OutcomeUnknown:
            said.append("in doubt")
        said.append(await ship("a parcel"))
        return [*said, ctx.uuid() != token]

    return agent


async def people(run: Run) -> None:
    """Answer, approve, and let the timers pass."""
    await run.advance(days=1)
    await run.send(Reply(99))
    await run.approve(by="ann")
    await run.advance(hours=1)
    await run.advance(hours=1)


test_a_run_survives_its_pod_at_every_commit = kill_everywhere(everything(), 1, script=people, around=banks)
"""0 steps lost, 0 recorded steps run again, 0 effects doubled; without keys, doubt and never two."""


def segmented() -> Agent:
    """Return an agent that restarts itself."""
    agent = Agent("segmented")

    @agent.step
    async def note(n: int) -> int:
        return n

    @agent.main
    async def main(ctx: Ctx, turns: int) -> str:
        reply = await ctx.receive(Reply)
        ctx.partial({"last": reply.cents})
        await note(reply.cents)
        if turns:
            await ctx.restart(turns - 1)
        return f"the last one was {await note(reply.cents)}"

    return agent


async def talk(run: Run) -> None:
    """Say three things, two of them at once."""
    await run.send(Reply(1))
    await run.send(Reply(2), id="two")
    await run.send(Reply(2), id="two")
    await run.send(Reply(3))


test_a_restarted_run_survives_its_pod_at_every_commit = kill_everywhere(segmented(), 2, script=talk)


def short() -> Agent:
    """Return an agent of two steps and a call, which waits for nothing."""
    agent = Agent("short")

    @agent.step
    async def note(n: int) -> int:
        return n

    @agent.tool
    async def post(call: Call, what: str) -> str:
        act("plain", call, what)
        return what

    @agent.main
    async def main(ctx: Ctx) -> list[Any]:
        try:
            return [await note(1), await post("a letter"), await note(2)]
        except OutcomeUnknown:
            return ["in doubt"]

    return agent


@pytest.fixture(params=["sqlite", "postgres"])
def journal(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return what to give to ``kill_everywhere`` for each database."""
    if request.param == "sqlite":
        return {"around": banks}
    fleet: Fleet = request.getfixturevalue("fleet")

    @contextmanager
    def afresh() -> Iterator[None]:
        with psycopg.connect(fleet.url, autocommit=True) as db:
            empty(db)
        with banks():
            yield

    return {"around": afresh, "journal": lambda _: fleet.journal()}


@pytest.mark.parametrize("rule", ["", "intent-first", "replay"])
def test_the_check_sees_what_goes_wrong(rule: str, journal: dict[str, Any]) -> None:
    """Negative control: with a rule taken out, some case of it fails; with all of them, none does."""
    found = kill_everywhere(short(), rules=without(*rule.split()), **journal)
    plan: Plan = found.pinfleet_plan  # type: ignore[attr-defined]
    if not rule:
        check_all(plan)
        return
    with pytest.raises(AssertionError, match=r"ran again|doubled|was sent 2 times"):
        check_all(plan)


def check_all(plan: Plan) -> None:
    """Execute every case."""
    for kill in plan.cases():
        plan.check(kill)


def test_cases_have_names() -> None:
    """A case says where the pod goes."""
    assert str(Kill(3, "after")) == "after-commit-3"
