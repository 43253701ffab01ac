"""A journal that takes its time: what it holds up, and what it does not."""

import asyncio
import time
from typing import Any

import pytest

from pinfleet import Agent, Ctx
from pinfleet.journal.interface import Batch, CommitResult, Owner
from pinfleet.journal.sqlite import SqliteJournal
from tests.unit.sdk.conftest import MakePod
from tests.unit.sdk.inline_pod import offer

SLOW_SECONDS = 0.3
STEPS = 3


@pytest.mark.case("runs: a slow journal")
async def test_slow_commits_hold_up_their_run_alone(make_pod: MakePod, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step waits for its commit and runs once; the pod answers meanwhile, and code outside steps goes on."""
    commit = SqliteJournal.commit

    def slow_commit(self: SqliteJournal, owner: Owner, batch: Batch, **more: Any) -> CommitResult:
        time.sleep(SLOW_SECONDS)
        return commit(self, owner, batch, **more)

    monkeypatch.setattr(SqliteJournal, "commit", slow_commit)
    agent, ran = Agent("slow"), list[int]()

    @agent.step
    async def work(n: int) -> int:
        ran.append(n)
        return n

    @agent.main
    async def main(ctx: Ctx) -> int:
        return sum([await work(n) for n in range(STEPS)])

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    began, answers = time.monotonic(), 0
    while (listed := pod.listing("r1")) is None or listed.state == "running":
        answers += 1  # the loop that serves polls is free
        await asyncio.sleep(0.01)
    assert listed.state == "succeeded"
    assert ran == list(range(STEPS))
    assert time.monotonic() - began >= STEPS * SLOW_SECONDS
    assert answers >= STEPS * SLOW_SECONDS / 0.01 / 4
