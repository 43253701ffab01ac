"""Tools: the key before the call, one send or the same key again, and doubt that is said as such."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from pinfleet.agent import Agent
from pinfleet.call import Call
from pinfleet.context import Ctx
from pinfleet.errors import ToolFailed
from pinfleet.rules import without
from pinfleet.wire import RunListing
from tests.unit.sdk.conftest import MakePod
from tests.unit.sdk.inline_pod import InlinePod, offer
from tests.unit.sdk.provider import GONE, Provider, Refusal, paying, result


async def test_a_tool_is_sent_once_and_its_result_recorded(make_pod: MakePod) -> None:
    """The recorded result is given on replay, and nothing is sent again."""
    provider = Provider()
    agent = Agent("a")

    @agent.tool
    async def pay(call: Call, cents: int) -> str:
        return await provider.pay(call, cents)

    @agent.main
    async def main(ctx: Ctx) -> str:
        paid = await pay(cents=5)
        await ctx.sleep(3600)
        return paid

    first, second = make_pod(agent), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(1))
    (timer,) = (await first.until("r1", "parked")).waiting_for
    await second.offer("r1", offer(2, timers_fired=(timer.id,)))
    assert (await result(second), provider.effects) == ('"paid 5"', [5])


@pytest.mark.parametrize("off", [(), ("intent-first",)])
async def test_the_key_is_durable_before_the_call(make_pod: MakePod, off: tuple[str, ...]) -> None:
    """While the tool runs, the journal holds its intent, its key and its arguments; not so with the rule taken out."""
    agent = Agent("a")
    pods: list[InlinePod] = []

    @agent.tool
    async def look(call: Call, what: str) -> bool:
        calls = await asyncio.wrap_future(pods[0].worker.submit(lambda journal: journal.load("r1").calls))
        return [(row.idempotency_key, row.attempt, row.arguments) for row in calls.values()] == [
            (call.headers["Idempotency-Key"], 1, b'{"what":"x"}')
        ]

    @agent.main
    async def main(ctx: Ctx) -> bool:
        return await look("x")

    pods.append(make_pod(agent, rules=without(*off)))
    assert await pods[0].result_of("r1") is not bool(off)


async def test_a_key_that_is_durable_only_after_the_call_pays_twice(make_pod: MakePod) -> None:
    """Negative control: without the intent first, the next pod knows of nothing and pays again."""
    provider = Provider(hang_after=True, honours_keys=False)
    agent = paying(provider)
    first, second = (make_pod(agent, uid=uid, rules=without("intent-first")) for uid in ("pod-1", "pod-2"))
    await first.offer("r1", offer(1))
    await provider.arrived.wait()
    await second.offer("r1", offer(2, previous=GONE))
    await second.until("r1", "succeeded")
    provider.released.set()
    await first.until("r1", "fenced")
    assert provider.effects == [5, 5]


@pytest.mark.parametrize("is_replay", [False, True])
async def test_a_failure_is_the_same_on_replay(make_pod: MakePod, *, is_replay: bool) -> None:
    """ToolFailed has the type and the message of what the tool raised, live and on replay."""
    agent = Agent("a")

    @agent.tool
    def pay(call: Call) -> None:
        raise KeyError("no such card")

    @agent.main
    async def main(ctx: Ctx) -> list[str]:
        try:
            await pay()
        except ToolFailed as err:
            if is_replay:
                await ctx.sleep(3600)
            return [err.type, err.message]
        return []

    first, second = make_pod(agent), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(1))
    if is_replay:
        (timer,) = (await first.until("r1", "parked")).waiting_for
        await second.offer("r1", offer(2, timers_fired=(timer.id,)))
    assert await result(second if is_replay else first) == '["KeyError","\'no such card\'"]'


async def test_retries_keep_the_key(make_pod: MakePod) -> None:
    """retries= sends again with the same key, each send an attempt that was committed before it."""
    provider = Provider(refuses=[ConnectionRefusedError(), ConnectionRefusedError()])
    pod = make_pod(paying(provider, resend=True, retries=2))
    await pod.offer("r1", offer())
    assert (await result(pod), len(provider.keys), len(set(provider.keys))) == ('["paid 5"]', 3, 1)
    (row,) = pod.worker.submit(lambda journal: journal.load("r1").calls).result().values()
    assert row.attempt == 3


async def test_retries_end(make_pod: MakePod) -> None:
    """After the last of them the failure is recorded."""
    provider = Provider(refuses=[ConnectionRefusedError() for _ in range(3)])
    pod = make_pod(paying(provider, resend=True, retries=2))
    await pod.offer("r1", offer())
    assert await result(pod) == '["ToolFailed ConnectionRefusedError"]'


async def test_a_provider_that_still_works_is_waited_for(make_pod: MakePod) -> None:
    """409 to a call that is sent again means that the first is under way: wait, then take its answer."""
    provider = Provider(hang_after=True)
    provider.refuses = []
    agent = paying(provider, resend=True)
    first, second = make_pod(agent), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(1))
    await provider.arrived.wait()
    provider.refuses = [Refusal(409), Refusal(409)]
    await second.offer("r1", offer(2, previous=GONE))
    assert (await result(second), len(provider.keys)) == ('["paid 5"]', 4)
    provider.released.set()
    await first.until("r1", "fenced")


async def test_a_provider_that_knows_the_key_with_other_arguments(make_pod: MakePod) -> None:
    """422 to a call that is sent again means that this code does not fit its journal: the run is held."""
    provider = Provider(hang_after=True)
    agent = paying(provider, resend=True)
    first, second = make_pod(agent), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(1))
    await provider.arrived.wait()
    provider.refuses = [Refusal(422)]
    await second.offer("r1", offer(2, previous=GONE))
    assert await result(second, "incompatible") == "Incompatible"
    provider.released.set()
    await first.until("r1", "fenced")


@pytest.mark.parametrize("is_finished", [True, False])
async def test_other_arguments_of_a_recorded_tool_are_incompatible(make_pod: MakePod, *, is_finished: bool) -> None:
    """Code that gives a recorded call other arguments is not what recorded it, whatever it catches."""
    provider = Provider(hang_after=not is_finished)
    agent = Agent("a")
    amounts = [5]

    @agent.tool(resend=True)
    async def pay(call: Call, cents: int) -> str:
        return await provider.pay(call, cents)

    @agent.main
    async def main(ctx: Ctx) -> str:
        try:
            await pay(amounts[0])
            await ctx.sleep(3600)
        except Exception:  # noqa: BLE001 - what a framework does
            return "swallowed"
        return "done"

    first, second = make_pod(agent), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(1))
    listed: RunListing | None = await first.until("r1", "parked") if is_finished else None
    await provider.arrived.wait() if listed is None else None
    amounts[0] = 6
    await second.offer("r1", offer(2, previous=GONE))
    said = await second.until("r1", "incompatible")
    assert said.outcome is not None
    assert said.outcome.error is not None
    assert "pay#1 with other arguments" in said.outcome.error.message
    provider.released.set()


async def test_outside_a_run_a_tool_just_runs() -> None:
    """An agent is testable as plain Python: the tool gets a call with a key of its own."""
    agent = Agent("a")
    keys: list[str] = []

    @agent.tool
    async def pay(call: Call, cents: int) -> int:
        keys.append(call.key)
        return cents

    @agent.tool
    def look(call: Call) -> str:
        return call.key

    assert await pay(5) == 5
    assert await look() not in keys


async def test_tools_count_once_toward_the_bound(make_pod: MakePod) -> None:
    """A run that may take no more steps sends nothing more."""
    provider = Provider()
    pod = make_pod(paying(provider))
    await pod.offer("r1", offer(given=6, max_steps=1))
    listed = await pod.until("r1", "limit")
    assert (listed.steps, provider.effects) == (1, [5])


def no_call(cents: int) -> None:
    """Take no call."""


def taking(call: Call, cents: int) -> None:
    """Take one."""


@pytest.mark.parametrize(
    ("function", "options", "why"),
    [
        (no_call, {}, r"def no_call\(call: Call, \.\.\.\)"),
        (taking, {"resend": True, "safe": True}, "one of resend=, reconcile= and safe="),
        (taking, {"retries": 2}, "write resend=True"),
        (taking, {"approve": lambda cents: cents > 1}, r"approve= needs show="),
        (taking, {"approve": lambda price: price > 1, "show": ("cents",)}, r"approve= takes \['price'\]"),
        (taking, {"show": ("price",)}, r"show=\['price'\] names no argument"),
        (taking, {"reconcile": lambda call, price: (call, price)}, r"reconcile= takes \['price'\]"),
    ],
)
def test_what_cannot_work_is_refused_at_import(function: Callable[..., Any], options: dict[str, Any], why: str) -> None:
    """Each refusal says what to write."""
    with pytest.raises(Exception, match=why):
        Agent("a").tool(**options)(function)
