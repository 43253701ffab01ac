"""Tools: the key before the call, one send or the same key again, and doubt that is said as such."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from pinfleet import clock
from pinfleet.agent import Agent
from pinfleet.call import Call
from pinfleet.context import Ctx
from pinfleet.errors import NotSent, OutcomeUnknown, ToolFailed
from pinfleet.rules import without
from pinfleet.wire import Previous, RunListing
from tests.unit.sdk.conftest import MakePod
from tests.unit.sdk.inline_pod import InlinePod, offer
from tests.unit.sdk.provider import Provider, Refusal

GONE = Previous(pod_uid="pod-1", is_gone=True)
THERE = Previous(pod_uid="pod-1", is_gone=False)


def paying(provider: Provider, **options: Any) -> Agent:
    """Return an agent that pays 5, says what came of it, and pays 5 again if the input says so."""
    agent = Agent("a")

    @agent.tool(**options)
    async def pay(call: Call, cents: int) -> str:
        return await provider.pay(call, cents)

    @agent.main
    async def main(ctx: Ctx, again: int | None) -> list[str]:
        said = []
        for cents in [5, again] if again is not None else [5]:
            try:
                said.append(await pay(cents))
            except (ToolFailed, OutcomeUnknown) as err:
                said.append(f"{type(err).__name__} {getattr(err, 'type', '')}".strip())
        return said

    return agent


async def result(pod: InlinePod, state: str = "succeeded") -> Any:
    """Return the result, or the error, of run r1."""
    listed = await pod.until("r1", state)
    assert listed.outcome is not None
    return listed.outcome.error.type if listed.outcome.error else bytes(listed.outcome.result).decode()


async def taken_over(make_pod: MakePod, agent: Agent, provider: Provider, **more: Any) -> Any:
    """Lose a pod while its provider has the call, take the run over, and return what the run says."""
    first, second = make_pod(agent), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(1, given=more.pop("given", None)))
    await provider.arrived.wait()
    await second.offer("r1", offer(2, given=None, previous=more.pop("previous", GONE)))
    said = await result(second)
    provider.released.set()
    await first.until("r1", "fenced")
    return said


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


async def test_a_call_without_an_answer_is_sent_again_with_its_key(make_pod: MakePod) -> None:
    """resend: the provider gets the same key twice, and pays once."""
    provider = Provider(hang_after=True)
    assert await taken_over(make_pod, paying(provider, resend=True), provider) == '["paid 5"]'
    assert (len(provider.keys), len(set(provider.keys)), provider.effects) == (2, 1, [5])


async def test_a_call_without_an_answer_is_unknown(make_pod: MakePod) -> None:
    """By default nobody knows: it is not sent again, whether it acted or not."""
    provider = Provider(hang_after=True)
    assert await taken_over(make_pod, paying(provider), provider) == '["OutcomeUnknown"]'
    assert provider.effects == [5]


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


@pytest.mark.parametrize("age", [timedelta(hours=22), timedelta(hours=24)])
async def test_a_key_is_trusted_for_its_lifetime(
    make_pod: MakePod, monkeypatch: pytest.MonkeyPatch, age: timedelta
) -> None:
    """Providers forget keys after a day: an older call is unknown, and not sent again."""
    provider = Provider(hang_after=True)
    agent = paying(provider, resend=True)
    first = make_pod(agent)
    await first.offer("r1", offer(1))
    await provider.arrived.wait()
    real = clock.now
    monkeypatch.setattr(clock, "now", lambda: clock.Moment(real().wall + age, real().monotonic))
    second = make_pod(agent, uid="pod-2")
    await second.offer("r1", offer(2, previous=GONE))
    expected = ('["paid 5"]', 2) if age < timedelta(hours=23) else ('["OutcomeUnknown"]', 1)
    assert (await result(second), len(provider.keys)) == expected
    provider.released.set()
    await first.until("r1", "fenced")


@pytest.mark.parametrize("arrived", [True, False])
async def test_reconcile(make_pod: MakePod, *, arrived: bool) -> None:
    """reconcile= asks the provider: what acted is its result, what did not arrive is sent."""
    provider = Provider(honours_keys=False, hang_after=arrived, hang_before=not arrived)
    asked: list[tuple[str, int]] = []

    async def look_up(call: Call, cents: int) -> str:
        asked.append((call.key, cents))
        if cents not in provider.effects:
            raise NotSent
        return f"had paid {cents}"

    said = await taken_over(make_pod, paying(provider, reconcile=look_up), provider)
    assert said == ('["had paid 5"]' if arrived else '["paid 5"]')
    assert asked == [(provider.keys[0], 5)]


async def test_a_provider_that_cannot_be_asked_leaves_doubt(make_pod: MakePod) -> None:
    """A reconcile= that raises anything else leaves the call unknown, and not sent."""
    provider = Provider(hang_after=True, honours_keys=False)

    def look_up(call: Call) -> str:
        raise ConnectionError("down")

    assert await taken_over(make_pod, paying(provider, reconcile=look_up), provider) == '["OutcomeUnknown"]'
    assert provider.effects == [5]


@pytest.mark.parametrize("kind", ["safe", "reconcile"])
async def test_what_may_act_without_a_key_waits_for_the_former_pod(make_pod: MakePod, kind: str) -> None:
    """Fencing stops commits, not sends: until previous.isGone nothing is sent, and nothing is asked."""
    provider = Provider(hang_before=True, honours_keys=False)
    asked: list[str] = []

    async def look_up(call: Call) -> str:
        asked.append(call.key)
        raise NotSent

    options: dict[str, Any] = {"safe": True} if kind == "safe" else {"reconcile": look_up}
    agent = paying(provider, **options)
    first, second = make_pod(agent), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(1))
    await provider.arrived.wait()
    await second.offer("r1", offer(2, previous=THERE))
    execution = await executing(second)
    assert not execution.in_flight
    assert (len(provider.keys), asked) == (1, [])
    await second.offer("r1", offer(2, previous=GONE))
    assert await result(second) == '["paid 5"]'
    provider.released.set()
    await first.until("r1", "fenced")


async def executing(pod: InlinePod) -> Any:
    """Wait until the run's code waits for the former pod, and return its execution."""
    async with asyncio.timeout(10):
        while not any(run._previous_gone._waiters for run in pod.driver._runner._executions.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    return pod.driver._runner._executions["r1"]


async def test_a_former_pod_that_stays_leaves_doubt(make_pod: MakePod) -> None:
    """Past its call_timeout a call that has not answered is unknown, and the run goes on."""
    provider = Provider(hang_before=True, honours_keys=False)

    async def look_up(call: Call) -> str:
        raise NotSent

    agent = paying(provider, reconcile=look_up, call_timeout=timedelta(seconds=0.3))
    first, second = make_pod(agent), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(1))
    await provider.arrived.wait()
    await second.offer("r1", offer(2, previous=THERE))
    assert await result(second) == '["OutcomeUnknown"]'
    provider.released.set()
    await first.until("r1", "fenced")
    assert len(provider.keys) == 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, '["OutcomeUnknown"]'), ({"safe": True}, '["ToolFailed TimeoutError"]')],
)
async def test_a_timeout_is_doubt(make_pod: MakePod, options: dict[str, Any], expected: str) -> None:
    """A call that has not answered in call_timeout is unknown, unless the tool changes nothing."""
    provider = Provider(hang_after=True)
    pod = make_pod(paying(provider, call_timeout=timedelta(seconds=0.01), **options))
    await pod.offer("r1", offer())
    assert await result(pod) == expected


@pytest.mark.parametrize("error", [ConnectionResetError("cut"), type("ReadTimeout", (Exception,), {})()])
async def test_errors_after_which_the_call_may_have_arrived(make_pod: MakePod, error: Exception) -> None:
    """A connection that was cut, or a client's own timeout, is no failure: it is doubt."""
    kind = type("ReadTimeout", (type("TimeoutException", (Exception,), {}),), {})
    provider = Provider(refuses=[kind() if type(error).__name__ == "ReadTimeout" else error])
    pod = make_pod(paying(provider))
    await pod.offer("r1", offer())
    assert await result(pod) == '["OutcomeUnknown"]'


@pytest.mark.parametrize("again", [5, 6])
async def test_a_call_in_doubt_is_not_tried_again(make_pod: MakePod, again: int) -> None:
    """The same tool with the same arguments is the same doubt, and nothing is sent; with others it is sent."""
    provider = Provider(refuses=[TimeoutError()], honours_keys=False)
    pod = make_pod(paying(provider))
    await pod.offer("r1", offer(given=again))
    expected = ('["OutcomeUnknown","OutcomeUnknown"]', []) if again == 5 else ('["OutcomeUnknown","paid 6"]', [6])
    assert (await result(pod), provider.effects) == expected


async def test_a_call_that_the_code_cancels_is_in_doubt(make_pod: MakePod) -> None:
    """A wait_for around a call, or any cancel of it, records that nobody knows."""
    provider = Provider(hang_after=True)
    agent = Agent("a")

    @agent.tool
    async def pay(call: Call, cents: int) -> str:
        return await provider.pay(call, cents)

    @agent.main
    async def main(ctx: Ctx) -> str:
        try:
            await asyncio.wait_for(pay(5), 0.05)
        except TimeoutError:
            try:
                return await pay(5)
            except OutcomeUnknown:
                return "in doubt"
        return "?"

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    assert (await result(pod), provider.effects) == ('"in doubt"', [5])


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
