"""Runs in one process: the same promises as in a cluster."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import pinfleet
from pinfleet.journal.sqlite import SqliteJournal
from pinfleet.local import LocalFleet, LocalRun

Open = Callable[[], SqliteJournal]


@pytest.fixture
def open_journal(tmp_path: Path) -> Open:
    """Opens one and the same journal."""
    return lambda: SqliteJournal(tmp_path / "journal.db")


class Counting:
    """An agent of three steps with a wait between the second and the third; it counts what was executed."""

    def __init__(self, wait_seconds: float = 0.0) -> None:
        self.agent = pinfleet.Agent("counting")
        self.executed: list[int] = []
        self.may_go = asyncio.Event()
        self.may_go.set()

        @self.agent.step
        async def work(n: int) -> int:
            self.executed.append(n)
            return n

        @self.agent.main
        async def main(ctx: pinfleet.Ctx) -> list[int]:
            done = [await work(1)]
            await self.may_go.wait()
            done.append(await work(2))
            if wait_seconds:
                await ctx.sleep(wait_seconds)
            return [*done, await work(3)]


def result_of(run: LocalRun) -> object:
    """What a run returned."""
    assert run.listing is not None
    assert run.listing.outcome is not None
    return json.loads(bytes(run.listing.outcome.result))


async def over(run: LocalRun) -> None:
    """Wait for a run's end."""
    async with asyncio.timeout(10):
        await run.until(lambda r: r.is_over)


async def test_a_run_goes_through(open_journal: Open) -> None:
    """A run is executed to its end, and its result is there."""
    counting = Counting()
    async with LocalFleet(counting.agent, open_journal) as fleet:
        run = await fleet.start("run")
        await over(run)
        assert result_of(run) == [1, 2, 3]


async def test_the_same_name_goes_on(open_journal: Open) -> None:
    """A run that was left open goes on under its name in the next process; no recorded step runs again."""
    first, second = Counting(), Counting()
    first.may_go.clear()
    async with LocalFleet(first.agent, open_journal) as fleet:
        run = await fleet.start("run")
        async with asyncio.timeout(10):
            await run.until(lambda r: r.listing is not None and r.listing.steps == 1)
    async with LocalFleet(second.agent, open_journal) as fleet:
        run = await fleet.start("run")
        await over(run)
        assert (first.executed, second.executed, result_of(run)) == ([1], [2, 3], [1, 2, 3])
        again = await fleet.start("run")
        await over(again)
        assert (second.executed, result_of(again)) == ([2, 3], [1, 2, 3])


async def test_a_wait_parks_and_wakes(open_journal: Open) -> None:
    """A wait parks the run and wakes it when it is due."""
    counting = Counting(wait_seconds=0.3)
    async with LocalFleet(counting.agent, open_journal, park_after_seconds=0.0) as fleet:
        run = await fleet.start("run")
        async with asyncio.timeout(10):
            await run.until(lambda r: r.is_parked)
        assert [wait.kind for wait in run.waiting_for] == ["Timer"]
        await over(run)
        assert (counting.executed, run.epoch) == ([1, 2, 3], 2)


async def test_another_pod_takes_over(open_journal: Open) -> None:
    """After the loss of its pod a run goes on at a higher epoch; what the lost one still does counts for nothing."""
    counting = Counting()
    counting.may_go.clear()
    async with LocalFleet(counting.agent, open_journal) as fleet:
        run = await fleet.start("run")
        async with asyncio.timeout(10):
            await run.until(lambda r: r.listing is not None and r.listing.steps == 1)
        await fleet.replace_pod()
        counting.may_go.set()
        await over(run)
        assert (run.epoch, result_of(run)) == (2, [1, 2, 3])


@pytest.mark.parametrize("state", ["parked", "running"])
async def test_a_cancel_ends_it(open_journal: Open, state: str) -> None:
    """A cancel ends a run, whether it is parked or executed."""
    counting = Counting(wait_seconds=60)
    if state == "running":
        counting.may_go.clear()
    async with LocalFleet(counting.agent, open_journal, park_after_seconds=0.0) as fleet:
        run = await fleet.start("run")
        async with asyncio.timeout(10):
            await run.until(lambda r: r.state == state)
        await fleet.end(run)
        await over(run)
        assert run.state == "cancelled"
