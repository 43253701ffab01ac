"""Runs executed in a pod without sockets: what code may do, what it may give, and what is refused with its name."""

import asyncio
import gc
import warnings
from typing import Any

import pytest

import pinfleet
from pinfleet.agent import Agent
from pinfleet.context import Ctx
from tests.unit.sdk.conftest import MakePod
from tests.unit.sdk.inline_pod import offer
from tests.unit.sdk.noted import counting


@pytest.mark.parametrize(
    ("raised", "kind"),
    [(SystemExit(3), "SystemExit"), (KeyboardInterrupt(), "KeyboardInterrupt"), (ValueError("x"), "ValueError")],
)
@pytest.mark.parametrize("where", ["sync step", "async step", "main", "child"])
async def test_what_code_raises_ends_its_run_alone(
    make_pod: MakePod, raised: BaseException, kind: str, where: str
) -> None:
    """SystemExit and its like end the run as failed, never the pod."""
    agent = Agent("a")

    @agent.step
    def sync_step() -> None:
        raise raised

    @agent.step
    async def async_step() -> None:
        raise raised

    async def child() -> None:
        raise raised

    @agent.main
    async def main(ctx: Ctx) -> None:
        if where == "sync step":
            await sync_step()
        elif where == "async step":
            await async_step()
        elif where == "child":
            await ctx.gather(child())
        raise raised

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    listed = await pod.until("r1", "failed")
    assert listed.outcome is not None
    assert listed.outcome.error is not None
    assert listed.outcome.error.type == kind


async def test_children(make_pod: MakePod) -> None:
    """Children run side by side, each in its own scope; the first failed one by position is raised after all ended."""
    agent = Agent("a")
    both = asyncio.Barrier(2)
    ended: list[int] = []

    @agent.step
    async def meet(n: int) -> int:
        await both.wait()
        return n

    async def fail(n: int) -> None:
        for _ in range(3 - n):
            await asyncio.sleep(0)
        ended.append(n)
        raise ValueError(str(n))

    @agent.main
    async def main(ctx: Ctx) -> list[Any]:
        met = await ctx.gather(meet(1), meet(2))
        mapped = await ctx.map(meet, [3, 4], limit=2)
        try:
            await ctx.gather(fail(1), fail(2))
        except ValueError as err:
            return [*met, *mapped, str(err), ended]
        return []

    assert await make_pod(agent).result_of("r1") == [1, 2, 3, 4, "1", [2, 1]]


async def test_overlap_is_ambiguous(make_pod: MakePod) -> None:
    """Two calls of one name that overlap in one scope are refused; in branches they are not."""
    agent = Agent("a")
    both = asyncio.Barrier(2)

    @agent.step
    async def meet() -> None:
        await both.wait()

    async def apart(ctx: Ctx, key: str) -> None:
        with ctx.branch(key):
            await meet()

    @agent.main
    async def main(ctx: Ctx, is_apart: bool) -> str:  # noqa: FBT001 - a run's input
        if is_apart:
            await asyncio.gather(apart(ctx, "a"), apart(ctx, "b"))
        else:
            await asyncio.gather(meet(), meet())
        return "met"

    pod = make_pod(agent)
    assert await pod.result_of("r1", given=True) == "met"
    await pod.offer("r2", offer(given=False))
    listed = await pod.until("r2", "failed")
    assert listed.outcome is not None
    assert listed.outcome.error is not None
    assert listed.outcome.error.type == "AmbiguousStep"
    assert "'meet'" in listed.outcome.error.message


async def test_nested_step(make_pod: MakePod) -> None:
    """A step inside a step is refused, also from a sync step's thread."""
    agent = Agent("a")
    note, _ = counting(agent)

    @agent.step
    async def outer() -> None:
        await note(1)

    @agent.main
    async def main(ctx: Ctx) -> None:
        await outer()

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    listed = await pod.until("r1", "failed")
    assert listed.outcome is not None
    assert listed.outcome.error is not None
    assert listed.outcome.error.type == "NestedStep"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("x" * 16_383, "ResultTooLarge"),
        (object(), "NotStorable"),
        (float("nan"), "NotStorable"),
        ({1: 2}, "NotStorable"),
        ("\ud800", "NotStorable"),
    ],
)
@pytest.mark.case("runs: a result too large", "runs: a result that is not JSON")
async def test_result_that_cannot_be_held(make_pod: MakePod, value: object, kind: str) -> None:
    """A result that is too large or not JSON fails the run, saying which."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx) -> object:
        return value

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    listed = await pod.until("r1", "failed")
    assert listed.outcome is not None
    assert listed.outcome.error is not None
    assert listed.outcome.error.type == kind


async def test_step_result_that_cannot_be_held(make_pod: MakePod) -> None:
    """A step's result that cannot be stored fails the step, naming step and field."""
    agent = Agent("a")

    @agent.step
    async def bad() -> dict[str, object]:
        return {"items": [1, {"price": float("inf")}]}

    @agent.main
    async def main(ctx: Ctx) -> list[str]:
        try:
            await bad()
        except pinfleet.NotStorable as err:
            return [err.step, err.field]
        return []

    assert await make_pod(agent).result_of("r1") == ["bad", "result.items[1].price"]


@pytest.mark.parametrize("given", [{"n": "one"}, [1], None])
@pytest.mark.case("manifest: an input of the wrong type")
async def test_input_that_does_not_fit(make_pod: MakePod, given: object) -> None:
    """An input that main does not declare fails the run, and no code of it runs."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx, given: dict[str, int]) -> None:
        raise AssertionError

    pod = make_pod(agent)
    await pod.offer("r1", offer(given=given))
    listed = await pod.until("r1", "failed")
    assert listed.outcome is not None
    assert listed.outcome.error is not None
    assert listed.outcome.error.type == "BadInput"


async def test_a_megabyte(make_pod: MakePod) -> None:
    """A step may be given and give 1 MB, the same on replay; a run's result of that size is refused with its limit."""
    agent = Agent("a")
    ran: list[int] = []

    @agent.step
    async def double(text: str) -> str:
        ran.append(len(text))
        return text + text

    @agent.main
    async def main(ctx: Ctx, megabytes: int) -> str:
        text = await double("x" * 500_000 * megabytes)
        await ctx.sleep(3600)
        return text if megabytes == 1 else str(len(await double("y")))

    first, second = make_pod(agent, uid="pod-1"), make_pod(agent, uid="pod-2")
    for uid, megabytes in (("r1", 1), ("r2", 2)):
        await first.offer(uid, offer(1, given=megabytes))
        wait = (await first.until(uid, "parked")).waiting_for[0]
        await second.offer(uid, offer(2, given=megabytes, timers_fired=(wait.id,)))
    failed = await second.until("r1", "failed")
    assert failed.outcome is not None
    assert failed.outcome.error is not None
    assert failed.outcome.error.type == "ResultTooLarge"
    await second.until("r2", "succeeded")
    assert ran == [500_000, 1_000_000, 1]
    whole = second.worker.submit(lambda journal: journal.load("r2").steps).result()
    assert [len(row.arguments) < 200 for row in whole.values()] == [True, True]


async def test_children_that_wait_for_their_turn_leave_no_coroutine(make_pod: MakePod) -> None:
    """A run that parks while children of ctx.map wait for room, or before one began, leaves nothing un-awaited."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx) -> int:
        async def sleep(n: int) -> int:
            await ctx.sleep(3600)
            return n

        slept = [*await ctx.map(sleep, range(3), limit=1), *await ctx.gather(sleep(1), sleep(2))]
        return sum(slept)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pods = [make_pod(agent, uid=f"pod-{n}") for n in range(1, 6)]
        fired: tuple[str, ...] = ()
        for epoch, pod in enumerate(pods, 1):
            await pod.offer("r1", offer(epoch, timers_fired=fired))
            listed = await pod.until("r1", "succeeded" if epoch == len(pods) else "parked")
            fired = tuple(wait.id for wait in listed.waiting_for)
        gc.collect()
    assert [str(each.message) for each in caught if "never awaited" in str(each.message)] == []
    assert listed.outcome is not None
    assert bytes(listed.outcome.result) == b"6"
