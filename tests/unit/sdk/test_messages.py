"""Messages: typed, in their order, each once; what fits nothing is refused and stalls nothing."""

import logging
from dataclasses import dataclass, replace
from datetime import timedelta

import msgspec
import pytest

from pinfleet.agent import Agent
from pinfleet.context import Ctx
from pinfleet.errors import Expired
from pinfleet.reports import News
from pinfleet.testing import Fleet
from pinfleet.wire import InboxMessage
from tests.unit.sdk.conftest import MakePod
from tests.unit.sdk.inline_pod import offer


@dataclass(frozen=True)
class Reply:
    """What a customer answers."""

    cents: int


@dataclass(frozen=True)
class Stop:
    """The customer wants no more."""

    why: str


def listening(count: int, *messages: type) -> Agent:
    """Return an agent that waits for so many replies, a day each."""
    agent = Agent("a", messages=messages)

    @agent.main
    async def main(ctx: Ctx) -> list[int | str]:
        said: list[int | str] = []
        for _ in range(count):
            try:
                said.append((await ctx.receive(Reply, within=timedelta(days=1))).cents)
            except Expired as late:
                said.append(str(late))
        return said

    return agent


async def test_a_message_wakes_the_run(pinfleet: Fleet) -> None:
    """The run parks until it comes, and gets it as the type that it asked for."""
    run = await pinfleet.start(listening(1))
    (wait,) = run.waiting_for
    assert (run.state, wait.kind, wait.name) == ("parked", "Message", "Reply")
    await run.send(Reply(5))
    assert await run.result() == [5]


async def test_messages_keep_their_order(pinfleet: Fleet) -> None:
    """Those that come before anybody waits are kept, over any number of pods."""
    run = await pinfleet.start(listening(3))
    await run.send(Reply(1))
    await run.lose_pod()
    await run.send(Reply(2))
    await run.send(Reply(3))
    assert await run.result() == [1, 2, 3]


@pytest.mark.case("runs: a message comes while its run parks, or twice")
async def test_a_message_comes_once(pinfleet: Fleet) -> None:
    """The same id again is the same message."""
    run = await pinfleet.start(listening(2))
    await run.send(Reply(1), id="m")
    await run.send(Reply(1), id="m")
    assert run.state == "parked"
    await run.send(Reply(2), id="n")
    assert await run.result() == [1, 2]


async def test_nobody_answers(pinfleet: Fleet) -> None:
    """After within= the wait ends with Expired; the same on replay."""
    run = await pinfleet.start(listening(2))
    await run.advance(days=1)
    await run.lose_pod()
    await run.send(Reply(2))
    assert await run.result() == ["no Reply came in 1 day, 0:00:00", 2]


@pytest.mark.parametrize("bad", [{"cents": "many"}, [1], None, {"$": "decimal", "v": "x"}])
async def test_a_message_that_does_not_fit(pinfleet: Fleet, caplog: pytest.LogCaptureFixture, bad: object) -> None:
    """It is refused in the log and in what the run's status shows, and the wait goes on."""
    run = await pinfleet.start(listening(1))
    with caplog.at_level(logging.WARNING):
        await run.send(bad, id="bad")
    (wait,) = run.waiting_for
    assert b'"refused":{"id":"bad"' in bytes(wait.shown)
    assert "a message was refused" in caplog.text
    await run.lose_pod()
    await run.send(Reply(5))
    assert await run.result() == [5]


async def test_a_message_of_another_declared_type_is_kept(pinfleet: Fleet) -> None:
    """Agent(messages=): what fits another type that the agent receives waits for its turn."""
    agent = Agent("a", messages=(Reply, Stop))

    @agent.main
    async def main(ctx: Ctx) -> list[int | str]:
        return [(await ctx.receive(Reply)).cents, (await ctx.receive(Stop)).why]

    run = await pinfleet.start(agent)
    await run.send(Stop("enough"))
    assert run.state == "parked"
    await run.send(Reply(5))
    assert await run.result() == [5, "enough"]


async def test_a_refused_message_stays_refused(pinfleet: Fleet) -> None:
    """A later wait of another type does not get what an earlier one refused."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx) -> list[int | str]:
        return [(await ctx.receive(Reply)).cents, (await ctx.receive(Stop)).why]

    run = await pinfleet.start(agent)
    await run.send(Stop("early"))
    await run.send(Reply(5))
    await run.lose_pod()
    await run.send(Stop("enough"))
    assert await run.result() == [5, "enough"]


async def test_offers_that_overlap_bring_a_message_once(make_pod: MakePod) -> None:
    """An offer that comes while another one's messages are being recorded repeats them, and counts none twice."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx) -> list[int]:
        return [await ctx.receive(int, within=timedelta(hours=1)) for _ in range(3)]

    pod = make_pod(agent, park_after_seconds=1e9)
    sent = [InboxMessage(id=f"m{n}", body=msgspec.Raw(str(n).encode())) for n in range(4)]
    await pod.offer("r1", offer(1))
    await pod.changed(lambda run: bool(run.waiting_for), "r1")
    (execution,) = pod.driver.executions
    for count in (1, 2, 2):
        execution.update(News(messages=tuple(sent[:count])))
    seen = await pod.changed(lambda run: run.messages_seen >= 2, "r1")
    assert (seen.state, seen.messages_seen) == ("running", 2)
    execution.update(News(messages=tuple(sent[2:3])))
    listed = await pod.until("r1", "succeeded")
    assert listed.outcome is not None
    assert bytes(listed.outcome.result) == b"[0,1,2]"
    assert listed.messages_seen == 3


async def test_what_comes_while_a_run_parks_is_not_seen(make_pod: MakePod) -> None:
    """Rule 9: once the run is to park nothing more is recorded for it, so that the park tells what it had not seen."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx) -> int:
        return await ctx.receive(int, within=timedelta(hours=1))

    pod = make_pod(agent, park_after_seconds=1e9)
    await pod.offer("r1", offer(1))
    await pod.changed(lambda run: bool(run.waiting_for), "r1")
    (execution,) = pod.driver.executions
    execution.place = replace(execution.place, park_after_seconds=0.0)
    execution._settle()
    execution.update(News(messages=(InboxMessage(id="m1", body=msgspec.Raw(b"7")),)))
    listed = await pod.until("r1", "parked")
    assert (listed.messages_seen, len(listed.waiting_for)) == (0, 1)
    assert not pod.worker.submit(lambda journal: journal.load("r1").inbox).result()
