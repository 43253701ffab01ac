"""Calls that were begun and have no answer: sent again with their key, reconciled, or in doubt, by policy."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from pinfleet import clock
from pinfleet.agent import Agent
from pinfleet.call import Call
from pinfleet.context import Ctx
from pinfleet.errors import NotSent, OutcomeUnknown
from tests.unit.sdk.conftest import MakePod
from tests.unit.sdk.inline_pod import InlinePod, offer
from tests.unit.sdk.provider import GONE, THERE, Provider, paying, result, taken_over


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
