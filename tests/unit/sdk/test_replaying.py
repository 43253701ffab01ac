"""Runs executed in a pod without sockets: what is recorded is read, on any pod, and nothing else is believed."""

import asyncio
import sqlite3
import time
from typing import Any

import pytest

from pinfleet import clock
from pinfleet.agent import Agent
from pinfleet.context import Ctx
from pinfleet.errors import StepFailed
from pinfleet.journal.interface import Claim
from pinfleet.rules import without
from tests.unit.sdk.conftest import MakePod
from tests.unit.sdk.inline_pod import InlinePod, offer
from tests.unit.sdk.noted import counting, recorded, resuming


async def test_result(make_pod: MakePod) -> None:
    """A run returns what main returns."""
    agent = Agent("a")
    note, ran = counting(agent)

    @agent.main
    async def main(ctx: Ctx, given: dict[str, int]) -> list[int]:
        return [await note(given["n"]), await note(2)]

    assert await make_pod(agent).result_of("r1", {"n": 1}) == [10, 20]
    assert ran == [1, 2]


async def resumed(make_pod: MakePod, **settings: Any) -> list[int]:
    """Lose a pod after two steps, execute on another, and return what ran."""
    agent, ran, go = resuming(3)
    first, second = make_pod(agent, uid="pod-1", **settings), make_pod(agent, uid="pod-2", **settings)
    await first.offer("r1", offer(1))
    await recorded(first, 2)
    await second.offer("r1", offer(2))
    go.set()
    await second.until("r1", "succeeded")
    first.drain()
    return ran


async def test_recorded_step_never_runs_again(make_pod: MakePod) -> None:
    """A recorded step is read on another pod, and what was not recorded runs there."""
    ran = await resumed(make_pod)
    assert ran.count(1) == ran.count(2) == 1


async def test_recorded_step_without_replay(make_pod: MakePod) -> None:
    """Negative control: without replay, recorded steps run again."""
    ran = await resumed(make_pod, rules=without("replay"))
    assert (ran.count(1), ran.count(2)) == (2, 2)


async def test_stale_owner_is_fenced(make_pod: MakePod) -> None:
    """The pod that lost a run hears it at its next commit, and lists the journal's epoch (rule 13)."""
    agent, _, go = resuming(3)
    first, second = make_pod(agent, uid="pod-1"), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(1))
    await first.until("r1", "running")
    await second.offer("r1", offer(5))
    go.set()
    fenced = await first.until("r1", "fenced")
    assert (fenced.epoch, fenced.journal_epoch) == (1, 5)
    await second.until("r1", "succeeded")


async def test_fenced_without_the_journals_epoch(make_pod: MakePod) -> None:
    """Negative control: without rule 13 the operator does not learn the journal's epoch."""
    agent, _, go = resuming(3)
    rules = without("journal-epoch")
    first, second = make_pod(agent, uid="pod-1", rules=rules), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(1))
    await second.offer("r1", offer(5))
    go.set()
    assert (await first.until("r1", "fenced")).journal_epoch is None


@pytest.mark.parametrize("is_replay", [False, True])
async def test_failure_is_the_same_on_replay(make_pod: MakePod, *, is_replay: bool) -> None:
    """A step's failure is recorded: StepFailed with type and message, live and on replay."""
    agent = Agent("a")
    go = asyncio.Event()
    ran: list[int] = []

    @agent.step
    def breaks() -> None:
        ran.append(1)
        raise KeyError("no such order")

    @agent.main
    async def main(ctx: Ctx) -> list[str]:
        try:
            await breaks()
        except StepFailed as err:
            if is_replay:
                await go.wait()
            return [err.type, err.message]
        return []

    first, second = make_pod(agent), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(1))
    if is_replay:
        await recorded(first, 1)
        await second.offer("r1", offer(2))
        go.set()
    listed = await (second if is_replay else first).until("r1", "succeeded")
    assert listed.outcome is not None
    assert (bytes(listed.outcome.result), ran) == (b'["KeyError","\'no such order\'"]', [1])
    first.drain()


async def test_recorded_values(make_pod: MakePod) -> None:
    """The time, random numbers and uuids are the same on every execution once a step has followed."""
    agent = Agent("a")
    note, _ = counting(agent)
    seen: list[tuple[Any, ...]] = []

    @agent.main
    async def main(ctx: Ctx) -> None:
        seen.append((ctx.now(), ctx.random(), ctx.uuid(), ctx.uuid()))
        await note(1)
        await ctx.sleep(3600)

    first, second = make_pod(agent), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(1))
    assert (await first.until("r1", "parked")).steps == 1
    await second.offer("r1", offer(2))
    await second.until("r1", "parked")
    assert seen[0] == seen[1]
    assert seen[0][2] != seen[0][3]


async def test_uuid_is_durable_before_a_step_uses_it(make_pod: MakePod) -> None:
    """A uuid that a step is given as a key is in the journal before the step begins."""
    agent = Agent("a")
    pods: list[InlinePod] = []

    @agent.step
    async def send(key: str) -> bool:
        rows = await asyncio.wrap_future(pods[0].worker.submit(lambda journal: journal.load("r1").steps))
        return any(key.encode() in row.result for row in rows.values())

    @agent.main
    async def main(ctx: Ctx) -> bool:
        return await send(str(ctx.uuid()))

    pods.append(make_pod(agent))
    assert await pods[0].result_of("r1") is True


async def test_adopted_without_a_restart(make_pod: MakePod) -> None:
    """A higher epoch of a run that the pod holds is claimed, and the live code goes on under it."""
    agent, ran, go = resuming(3)
    pod = make_pod(agent)
    await pod.offer("r1", offer(1))
    await recorded(pod, 2)
    await pod.offer("r1", offer(4))
    go.set()
    listed = await pod.until("r1", "succeeded")
    assert (listed.epoch, ran) == (4, [1, 2, 3, 4, 5])


async def test_not_adopted_after_another_had_it(make_pod: MakePod) -> None:
    """Live code that lost the run in between is stopped, and new code replays what the other recorded."""
    agent, ran, go = resuming(3)
    pod = make_pod(agent)
    await pod.offer("r1", offer(1))
    await recorded(pod, 2)
    now = clock.now().wall
    other = Claim(run="r1", name="run", epoch=2, boot="other", pod="pod-9", version="v1", schema=1, now=now)
    pod.worker.submit(lambda journal: journal.claim(other)).result()
    await pod.offer("r1", offer(3))
    go.set()
    listed = await pod.until("r1", "succeeded")
    assert (listed.epoch, listed.steps, ran) == (3, 5, [1, 2, 3, 4, 5])


async def test_replay_is_quick(make_pod: MakePod) -> None:
    """A thousand recorded steps are replayed in well under a second."""
    agent = Agent("a")
    note, _ = counting(agent)
    took: list[float] = []

    @agent.main
    async def main(ctx: Ctx) -> None:
        began = time.perf_counter()
        with ctx.branch("many"):
            for n in range(300):
                await note(n)
        took.append(time.perf_counter() - began)
        assert not ctx.replaying
        await ctx.sleep(3600)

    first, second = make_pod(agent), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(max_steps=1_000))
    await first.until("r1", "parked")
    await second.offer("r1", offer(2, max_steps=1_000))
    await second.until("r1", "parked")
    assert took[1] < 0.3


@pytest.mark.case("runs: no journal in the middle of a step or at its commit")
async def test_journal_down_at_a_commit(make_pod: MakePod, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step whose commit finds the database down is committed when it is back, and does not run again."""
    agent, ran, go = resuming(2)
    pod = make_pod(agent)
    await pod.offer("r1", offer())
    await recorded(pod, 1)
    path = pod.worker._writer._journal._path  # type: ignore[attr-defined]
    blocker = await asyncio.to_thread(sqlite3.connect, path, isolation_level=None, check_same_thread=False)
    blocker.execute("BEGIN IMMEDIATE")
    go.set()
    assert (await pod.offer("r9", offer())).status == 503
    blocker.execute("ROLLBACK")
    blocker.close()
    assert (await pod.until("r1", "succeeded")).steps == 5
    assert ran == [1, 2, 3, 4, 5]
