"""Runs that code of another schema recorded: they migrate whole and once, or stay as they are and it is said why."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

import pinfleet as sdk
from pinfleet.testing import Fleet, Run, RunFailed


@dataclass(frozen=True)
class Order:
    """As the first version has it."""

    id: str
    cents: int


@dataclass(frozen=True)
class PricedOrder:
    """As the second version has it."""

    id: str
    price: str


SENT: list[str] = []


def first() -> sdk.Agent:
    """Schema 1: an order in cents, a payment, three days, thanks."""
    agent = sdk.Agent("shop")

    @agent.step
    async def find(order_id: str) -> Order:
        SENT.append("find")
        return Order(order_id, 500)

    @agent.tool(resend=True)
    async def charge(call: sdk.Call, cents: int) -> str:
        SENT.append(call.key)
        return f"{cents} cents"

    @agent.main
    async def main(ctx: sdk.Ctx, order_id: str) -> str:
        order = await find(order_id)
        await charge(order.cents)
        await ctx.sleep(timedelta(days=3))
        return order.id

    return agent


def second(schema: int = 2) -> sdk.Agent:
    """Schema 2: an order with a price, screened before it is paid by another argument, and a reply at the end."""
    agent = sdk.Agent("shop", schema=schema)

    @agent.step
    async def find(order_id: str) -> PricedOrder:
        raise AssertionError("it is recorded")

    @agent.step
    async def screen(order: PricedOrder) -> bool:
        raise AssertionError("a migration recorded it")

    @agent.tool(resend=True)
    async def charge(call: sdk.Call, price: str) -> str:
        SENT.append(call.key)
        return price

    @agent.step
    async def thank(order_id: str) -> str:
        return f"thanks for {order_id}"

    @agent.main
    async def main(ctx: sdk.Ctx, given: dict[str, str]) -> str:
        order = await find(given["order"])
        await screen(order)
        paid = await charge(order.price)
        await ctx.sleep(timedelta(days=3))
        return f"{await thank(order.id)}: {paid}"

    return agent


def priced(run: sdk.RecordedRun) -> None:
    """From schema 1 to 2."""
    (found,) = run.named("find")
    price = f"{found.result.pop('cents') / 100:.2f}"
    found.result["price"] = price
    for charge in run.named("charge"):
        charge.arguments = {"price": price}
    run.add("screen", True, arguments={"order": dict(found.result)})
    run.input = {"order": run.input}


def migrating(migrate: Callable[[sdk.RecordedRun], None] = priced) -> sdk.Agent:
    """Return the second version with its migration."""
    agent = second()
    agent.migration(from_=1, to=2)(migrate)
    return agent


async def parked(pinfleet: Fleet) -> Run:
    """Return a run of the first version in its three days."""
    SENT.clear()
    run = await pinfleet.start(first(), "o-1")
    assert run.state == "parked"
    return run


async def test_a_run_goes_on_with_other_code(pinfleet: Fleet) -> None:
    """A run of the former schema is migrated, and ends on the new code; nothing recorded runs again."""
    run = await parked(pinfleet)
    await run.move_to(migrating())
    await run.advance(days=3)
    assert await run.result() == "thanks for o-1: 500 cents"
    assert len(SENT) == 2


async def test_a_migration_runs_once(pinfleet: Fleet) -> None:
    """The next pod of the new version finds the run migrated, and calls no migration."""
    called: list[str] = []

    def counted(run: sdk.RecordedRun) -> None:
        called.append(run.name)
        priced(run)

    run = await parked(pinfleet)
    await run.move_to(migrating(counted))
    await run.lose_pod()
    await run.advance(days=3)
    await run.result()
    assert called == ["run-1"]


async def test_migrations_form_a_chain(pinfleet: Fleet) -> None:
    """A run that is two schemas behind takes both migrations, in one transaction."""
    agent = second(schema=3)
    agent.migration(from_=1, to=2)(priced)

    @agent.migration(from_=2, to=3)
    def rename(run: sdk.RecordedRun) -> None:
        run.input = {"order": run.input["order"].upper()}
        run.named("find")[0].result["id"] = "O-1"

    run = await parked(pinfleet)
    await run.move_to(agent)
    await run.advance(days=3)
    assert await run.result() == "thanks for O-1: 500 cents"


def refuses_to_fit(run: sdk.RecordedRun) -> None:
    """Leaves the former result, which is no priced order."""
    run.input = {"order": run.input}


def drops_everything_but(run: sdk.RecordedRun) -> None:
    """Leaves a step that the new code asks for only after another one."""
    priced(run)
    run.drop(run.named("screen")[0])


def raises(run: sdk.RecordedRun) -> None:
    """Has a mistake."""
    run.named("find")[0].result["nothing"] += 1


def exits(run: sdk.RecordedRun) -> None:
    """Ends the process, or so it thinks."""
    raise SystemExit(3)


def invents(run: sdk.RecordedRun) -> None:
    """Says that a call was made."""
    priced(run)
    run.add("charge", "paid", arguments={"price": "1"})


def stores_nonsense(run: sdk.RecordedRun) -> None:
    """Gives a result that JSON does not have."""
    priced(run)
    run.named("find")[0].result = object()


@pytest.mark.parametrize(
    ("migrate", "said"),
    [
        (refuses_to_fit, "does not come back as the declared PricedOrder"),
        (drops_everything_but, "asks for screen#1"),
        (raises, "migration raises, 1 to 2, failed: KeyError"),
        (exits, "migration exits, 1 to 2, failed: SystemExit"),
        (invents, "a tool cannot be added"),
        (stores_nonsense, "find: result: builtins.object is neither JSON"),
    ],
)
async def test_what_does_not_fit_changes_nothing(
    pinfleet: Fleet, migrate: Callable[[sdk.RecordedRun], None], said: str
) -> None:
    """A migration that fails, or leaves a record that the new code cannot go on with, leaves the run as it was."""
    run = await parked(pinfleet)
    await run.move_to(migrating(migrate))
    assert run.state == "incompatible"
    with pytest.raises(RunFailed, match=said):
        await run.result()
    await run.move_to(first(), version="v1")
    await run.advance(days=3)
    assert await run.result() == "o-1"


async def test_without_a_migration_it_is_incompatible(pinfleet: Fleet) -> None:
    """Another schema without a way to it is said, with what to write."""
    run = await parked(pinfleet)
    await run.move_to(second())
    with pytest.raises(RunFailed, match=r"under schema 1; this code has 2.*add @agent\.migration\(from_=1"):
        await run.result()
    assert run.state == "incompatible"


def looking_up(kind: type) -> sdk.Agent:
    """Return an agent whose step returns a type."""
    agent = sdk.Agent("looks")

    async def look_up() -> Any:
        return Order("o-1", 500)

    look_up.__annotations__["return"] = kind
    found = agent.step(look_up)

    @agent.main
    async def main(ctx: sdk.Ctx) -> str:
        order = await found()
        await ctx.sleep(timedelta(days=3))
        return str(order.id)

    return agent


async def test_another_type_of_a_recorded_result_is_incompatible(pinfleet: Fleet) -> None:
    """A recorded result that is no longer what the step returns stops the run; the code gets no error to swallow."""
    run = await pinfleet.start(looking_up(Order))
    await run.move_to(looking_up(PricedOrder))
    assert run.state == "incompatible"
    with pytest.raises(RunFailed, match="recorded step look_up#1 on v1; its result does not come back as"):
        await run.result()


async def test_older_code_does_not_take_a_migrated_run(pinfleet: Fleet) -> None:
    """A run that was migrated does not go back by itself: the former code says that it is the older one."""
    run = await parked(pinfleet)
    await run.move_to(migrating())
    await run.move_to(first(), version="v1")
    with pytest.raises(RunFailed, match="recorded under schema 2; this code has 1, an older one"):
        await run.result()


async def test_a_later_segment_migrates(pinfleet: Fleet) -> None:
    """After ctx.restart a migration sees the segment's steps and its input, and what it adds counts on from before."""

    def talking(schema: int) -> sdk.Agent:
        agent = sdk.Agent("talks", schema=schema)

        @agent.step
        async def note(text: str) -> str:
            return text

        @agent.main
        async def main(ctx: sdk.Ctx, turn: int) -> str:
            said = [await note(f"turn {turn}")]
            if schema == 2:
                said.append(await note(f"more of {turn}"))
            if turn == 1:
                await ctx.restart(2)
            return f"{said} {await ctx.receive(str)}"

        return agent

    seen: list[Any] = []
    agent = talking(2)

    @agent.migration(from_=1, to=2)
    def more(run: sdk.RecordedRun) -> None:
        seen.append((run.input, [(step.name, step.n) for step in run.steps]))
        run.add("note", "added", arguments={"text": f"more of {run.input}"})

    run = await pinfleet.start(talking(1), 1)
    await run.move_to(agent)
    await run.lose_pod()
    await run.send("bye")
    assert await run.result() == "['turn 2', 'added'] bye"
    assert seen == [(2, [("note", 2)])]
