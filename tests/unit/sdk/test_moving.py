"""Runs that another version of the code has recorded, under the same schema: taken up only if the code goes on."""

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from pinfleet import Agent, Call, Ctx, OutcomeUnknown, RecordedRun
from pinfleet.testing import Fleet, Run, RunFailed
from tests.unit.sdk.conftest import MakePod
from tests.unit.sdk.inline_pod import offer
from tests.unit.sdk.journal_contract import claim

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


async def test_a_migration_that_hangs_ends_with_its_run(make_pod: MakePod) -> None:
    """It holds its own slot and nobody else up; the run is cancelled without it, and what it makes later is refused."""
    go, begun = threading.Event(), threading.Event()

    def waiting(schema: int) -> Agent:
        agent = Agent("waits", schema=schema)

        @agent.step
        async def note() -> int:
            return schema

        @agent.main
        async def main(ctx: Ctx) -> int:
            noted = await note()
            await ctx.sleep(3600)
            return noted

        return agent

    agent = waiting(2)

    @agent.migration(from_=1, to=2)
    def hang(run: RecordedRun) -> None:
        begun.set()
        go.wait(20)
        run.steps[0].result = 2

    first, second = make_pod(waiting(1), uid="pod-1"), make_pod(agent, uid="pod-2", cancel_grace_seconds=0.1)
    await first.offer("r1", offer(1))
    await first.until("r1", "parked")
    await second.offer("r1", offer(2))
    await asyncio.to_thread(begun.wait, 20)
    await second.offer("r2", offer(1))
    await second.until("r2", "parked")
    await second.delete("r1", 2)
    second.tick(1.0)
    await second.until("r1", "cancelled")
    go.set()
    await second.ack("r1", 2)
    await second.ack("r2", 1)
    await second.until_empty()
    history = second.worker.submit(lambda journal: journal.load("r1")).result()
    assert (history.schema, [row.result for row in history.steps.values()]) == (1, [b"1"])


@pytest.mark.parametrize("restarts", [False, True])
async def test_doubt_outlives_another_name(pinfleet: Fleet, *, restarts: bool) -> None:
    """A call in doubt of a tool that has another name now is the same doubt: who tries again does not pay twice."""
    sent: list[str] = []

    def paying(name: str) -> Agent:
        agent = Agent("pays")

        @agent.tool(name=name)
        async def pay(call: Call, cents: int) -> str:
            sent.append(call.key)
            raise TimeoutError("no answer")

        @agent.main
        async def main(ctx: Ctx, turn: int) -> str:
            for n in range(2):
                try:
                    await pay(5)
                except OutcomeUnknown:
                    if not n and turn:
                        await ctx.restart(0)
                    await ctx.receive(str)
            return "in doubt"

        return agent

    run = await pinfleet.start(paying("pay"), int(restarts))
    agent = paying("pay_card")
    agent.renamed("pay", to="pay_card")
    await run.move_to(agent)
    await run.send("again")
    await run.send("and again")
    assert await run.result() == "in doubt"
    assert len(sent) == 1


@pytest.mark.parametrize("stubborn", [False, True])
async def test_tasks_that_code_leaves_behind_hold_up_no_move(pinfleet: Fleet, *, stubborn: bool) -> None:
    """A task of the code's own that never ends is ended with the rehearsal, or left to itself; the run goes on."""
    done = asyncio.Event()

    async def left() -> None:
        while not done.is_set():
            try:
                await done.wait()
            except asyncio.CancelledError:
                if not stubborn:
                    raise

    async def leaves(ctx: Ctx, step: dict[str, Any]) -> str:
        task = asyncio.create_task(left())
        said = await as_recorded(ctx, step)
        done.set()
        await asyncio.gather(task, return_exceptions=True)
        return said

    run = await parked(pinfleet)
    await run.move_to(version(leaves))
    assert run.state == "parked"
    done.set()
    await run.advance(days=3)
    assert await run.result() == "o-1 receipt"


async def test_a_run_that_recorded_nothing_has_any_schema(make_pod: MakePod) -> None:
    """A run that was claimed, and whose pod went before it recorded anything, needs no migration, up or down."""
    for number, (before, now) in enumerate([(1, 2), (2, 1)]):
        agent = version(as_recorded)
        agent.schema = now
        pod, uid = make_pod(agent, uid=f"pod-{number}"), f"r{number}"
        lost = claim(1, run=uid, version="v0", schema=before)
        pod.worker.submit(lambda journal, lost=lost: journal.claim(lost)).result()  # type: ignore[misc]
        await pod.offer(uid, offer(2))
        await pod.until(uid, "parked")
        assert pod.worker.submit(lambda journal, uid=uid: journal.load(uid).schema).result() == now  # type: ignore[misc]
