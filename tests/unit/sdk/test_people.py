"""Approvals: a person decides about exactly what was asked, once, in time, and is not who asked for the run."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from pinfleet.agent import Agent
from pinfleet.call import Call
from pinfleet.context import Ctx
from pinfleet.errors import Denied, Expired, OutcomeUnknown
from pinfleet.identity import StepKey
from pinfleet.journal.sqlite import SqliteJournal
from pinfleet.people import request_hash
from pinfleet.rules import without
from pinfleet.testing import Fleet, Run, RunFailed


@dataclass(frozen=True)
class Order:
    """What was ordered."""

    id: str
    card: str = "4242"


def refunding(**options: Any) -> Agent:
    """Return an agent whose refunds above 50 a person approves; it is given amounts."""
    agent = Agent("a")

    @agent.tool(approve=lambda order, cents: order.id != "free" and cents > 50, show=("cents",), **options)
    async def refund(call: Call, order: Order, cents: int) -> str:
        return f"{order.id} {cents}"

    @agent.main
    async def main(ctx: Ctx, amounts: list[int]) -> list[str]:
        said = []
        for cents in amounts:
            try:
                said.append(await refund(Order("o-1"), cents))
            except Denied as no:
                said.append(f"denied by {no.by}: {no.comment}")
            except Expired as late:
                said.append(str(late))
        return said

    return agent


async def test_an_approval_lets_the_call_go(pinfleet: Fleet) -> None:
    """The run parks, says what it asks, and goes on once a person said yes."""
    run = await pinfleet.start(refunding(who="finance"), [99])
    asked = run.asked()
    assert (run.state, asked.name, asked.who, bytes(asked.shown)) == ("parked", "refund", "finance", b'{"cents":99}')
    assert run.sent("refund") == 0
    await run.approve(by="ann")
    assert (await run.result(), run.sent("refund")) == (["o-1 99"], 1)


async def test_what_needs_no_approval_is_sent(pinfleet: Fleet) -> None:
    """approve= decides by the arguments."""
    run = await pinfleet.start(refunding(), [50])
    assert await run.result() == ["o-1 50"]


async def test_a_person_says_no(pinfleet: Fleet) -> None:
    """Denied names who decided and what was said; nothing is sent; the same on replay."""
    run = await pinfleet.start(refunding(), [99, 98])
    await run.deny(by="ann", comment="too much")
    await run.lose_pod()
    await run.approve(by="bob")
    assert await run.result() == ["denied by ann: too much", "o-1 98"]


async def test_nobody_decides(pinfleet: Fleet) -> None:
    """After within= the request is over: Expired, and a decision that comes then changes nothing."""
    run = await pinfleet.start(refunding(within=timedelta(days=1)), [99, 98])
    late = run.asked()
    await run.advance(days=1)
    await run.decide("approved", late.hash, by="ann")
    await run.deny(by="ann")
    assert await run.result() == ["nobody decided about refund in 1 day, 0:00:00", "denied by ann: "]
    assert run.sent("refund") == 0


async def test_what_is_shown_is_what_show_names(pinfleet: Fleet) -> None:
    """No other argument reaches the run's status."""
    run = await pinfleet.start(refunding(), [99])
    assert b"4242" not in bytes(run.asked().shown)


@pytest.mark.case("runs: an approval comes early, twice, for another request or too late")
async def test_only_the_request_s_own_hash_counts(pinfleet: Fleet) -> None:
    """A decision about something else, or about what is not asked yet, changes nothing."""
    run = await pinfleet.start(refunding(), [99, 98])
    first = run.asked().hash
    other = request_hash("another run", StepKey("", "refund", 1), b'{"cents":98}', None)
    arguments = b'{"cents":98,"order":{"card":"4242","id":"o-1"}}'
    early = request_hash(run.uid, StepKey("", "refund", 2), arguments, None)
    await run.decide("approved", other, by="eve")
    await run.decide("approved", early, by="eve")
    assert (run.state, run.sent("refund"), run.asked().hash) == ("parked", 0, first)
    await run.approve(by="ann")
    assert run.asked().hash == early
    assert run.sent("refund") == 1


@pytest.mark.case("runs: an approval comes early, twice, for another request or too late")
async def test_the_first_decision_stands(pinfleet: Fleet) -> None:
    """A second decision about the same request changes nothing, in one offer or a later one."""
    run = await pinfleet.start(refunding(), [99, 98])
    asked = run.asked().hash
    await run.deny(by="ann")
    await run.decide("approved", asked, by="bob")
    await run.lose_pod()
    await run.deny(by="ann")
    assert (await run.result(), run.sent("refund")) == (["denied by ann: ", "denied by ann: "], 0)


async def test_who_asked_for_the_run_may_not_approve(pinfleet: Fleet) -> None:
    """The requester's own decision is refused; another person's counts."""
    run = await pinfleet.start(refunding(), [99], requester="eve")
    await run.approve(by="eve")
    assert (run.state, run.sent("refund")) == ("parked", 0)
    await run.approve(by="ann")
    assert await run.result() == ["o-1 99"]


async def test_approvals_by_position(tmp_path: Any, pinfleet: Fleet) -> None:
    """Negative control: bound to its place instead of its hash, a yes to one refund pays another."""
    agent = refunding()
    fleet = Fleet(lambda: SqliteJournal(tmp_path / "other.db"), rules=without("request-hash"))
    run = await fleet.start(agent, [99, 5_000])
    await run.decide("approved", "whatever", by="ann")
    assert run.sent("refund") == 2
    fleet.close()


async def test_approve_of_its_own(pinfleet: Fleet) -> None:
    """ctx.approve asks about what is no tool's call, and gives who decided."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx) -> list[str]:
        first = await ctx.approve("publish", show={"title": "News"}, who="editors")
        try:
            await ctx.approve("publish", show={"title": "More"}, within=timedelta(hours=1))
        except Denied as no:
            return [first.by, first.comment, no.by, no.what]
        return []

    run = await pinfleet.start(agent)
    assert (run.asked().name, run.asked().who, bytes(run.asked().shown)) == ("publish", "editors", b'{"title":"News"}')
    await run.approve(by="ann", comment="fine")
    await run.lose_pod()
    await run.deny(by="bob")
    assert await run.result() == ["ann", "fine", "bob", "publish"]


async def test_several_requests_at_once(pinfleet: Fleet) -> None:
    """Each has its own hash; they are decided in any order."""
    agent = Agent("a")

    @agent.tool(approve=lambda cents: cents > 0, show=("cents",))
    async def refund(call: Call, cents: int) -> int:
        return cents

    @agent.main
    async def main(ctx: Ctx) -> list[int]:
        return await ctx.map(refund, [1, 2])

    run = await pinfleet.start(agent)
    first, second = run.waiting_for
    assert (run.state, first.hash != second.hash) == ("parked", True)
    await run.decide("approved", second.hash, by="ann")
    assert run.keys("refund") != []
    await run.decide("approved", first.hash, by="ann")
    assert (await run.result(), run.sent("refund")) == ([1, 2], 2)


async def test_code_that_asks_for_something_else_after_the_question(pinfleet: Fleet) -> None:
    """Same version, other arguments of what a person was asked: the run is held, and nothing is sent."""
    amounts = [99]
    agent = Agent("a")

    @agent.tool(approve=lambda cents: cents > 0, show=("cents",))
    async def refund(call: Call, cents: int) -> int:
        return cents

    @agent.main
    async def main(ctx: Ctx) -> int:
        return await refund(amounts[0])

    run = await pinfleet.start(agent)
    amounts[0] = 5_000
    await run.approve(by="ann")
    assert (run.state, run.sent("refund")) == ("incompatible", 0)


async def test_too_much_to_show(pinfleet: Fleet) -> None:
    """What a person would see only in part is not asked: an error names it."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx) -> None:
        await ctx.approve("it", show={"text": "x" * 3_000})

    run = await pinfleet.start(agent)
    with pytest.raises(RunFailed, match=r"NotStorable: it: show: .* show less"):
        await run.result()


def asking(fails: int) -> Agent:
    """Return an agent whose call is in doubt so many times; a person decides."""
    agent = Agent("a")
    left = [fails]

    @agent.tool(unknown="ask", show=("cents",))
    async def pay(call: Call, cents: int) -> str:
        if left[0]:
            left[0] -= 1
            raise TimeoutError
        return f"paid {cents} at attempt {call.attempt}"

    @agent.main
    async def main(ctx: Ctx) -> str:
        try:
            return await pay(5)
        except OutcomeUnknown as doubt:
            return f"in doubt: {doubt}"

    return agent


async def test_a_person_lets_a_call_in_doubt_be_sent_again(pinfleet: Fleet) -> None:
    """unknown="ask": a yes sends it again with the same key, each time that it is in doubt."""
    run = await pinfleet.start(asking(fails=2))
    assert run.asked().name == "pay again"
    await run.approve(by="ann")
    await run.approve(by="ann")
    assert (await run.result(), run.sent("pay"), len(set(run.keys("pay")))) == ("paid 5 at attempt 3", 3, 1)


async def test_a_person_leaves_a_call_in_doubt(pinfleet: Fleet) -> None:
    """A no leaves it unknown: nothing is sent."""
    run = await pinfleet.start(asking(fails=1))
    await run.deny(by="ann")
    assert ((await run.result())[:8], run.sent("pay")) == ("in doubt", 1)


async def test_an_approval_is_asked_once(pinfleet: Fleet) -> None:
    """A pod that goes while a person thinks does not ask anew."""
    run: Run = await pinfleet.start(refunding(), [99])
    before = run.asked()
    await run.lose_pod()
    assert run.asked() == before
