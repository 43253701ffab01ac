"""A new leader finds every run due once: however many they are, they keep neither the Lease nor a new run waiting."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, cast

import msgspec
import pytest

from pinfleet_operator.api.run import Phase, RunRecord
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.errors import Unavailable
from pinfleet_operator.runs.loop import BACKLOG_AT_ONCE, RunLoop
from pinfleet_operator.store import Store
from tests.fakes.clock import StepClock
from tests.unit.operator.runs.conftest import FLEET, LIMITS, PENDING

RUNS = 3000
WORKERS = Settings().run_workers


@dataclass
class Ends:
    """Pods that nobody calls, and an API server that takes no write."""

    on_runs: list[Any] = field(default_factory=list)
    on_pod: list[Any] = field(default_factory=list)

    def server_now(self) -> datetime:
        """Any time."""
        return datetime(2026, 1, 1, tzinfo=UTC)

    async def merge_patch(self, *_: Any, **__: Any) -> bytes:
        """Refuse."""
        raise Unavailable("no")

    get = merge_patch


class CountingLoop(RunLoop):
    """Notes each pass instead of making it."""

    def __init__(self, store: Store) -> None:
        ends = cast("Any", Ends())
        super().__init__(store=store, kube=ends, dispatch=ends, clock=StepClock(), settings=Settings())
        self.passes: list[str] = []
        self._moved = asyncio.Event()

    async def once(self, uid: str) -> None:
        """A pass that waits for nothing, as those over parked runs are."""
        self.passes.append(uid)
        self._moved.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds; it is looked at after passes."""
        async with asyncio.timeout(30):
            while not condition():
                self._moved.clear()
                await self._moved.wait()


@asynccontextmanager
async def a_new_leader() -> AsyncIterator[CountingLoop]:
    """It works on a store with many parked runs, and one that is Pending and the last of all."""
    store = Store()
    store.runs.replace([*(a_run(f"run-{n:05d}", "Parked") for n in range(RUNS)), a_run("zz", "Pending")], "100")
    async with working(CountingLoop(store)) as loop:
        yield loop


@asynccontextmanager
async def working(loop: CountingLoop) -> AsyncIterator[CountingLoop]:
    """It works for the length of a block."""
    loop.start()
    task = asyncio.create_task(loop.work())
    try:
        yield loop
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def a_run(uid: str, phase: Phase) -> RunRecord:
    """A run of this phase."""
    return msgspec.structs.replace(PENDING, uid=uid, name=uid, phase=phase)


async def test_others_have_their_turn_between_a_few_passes() -> None:
    """The task that renews the Lease never waits for more than one pass of each worker."""
    async with a_new_leader() as loop:
        done = [0]
        while done[-1] <= RUNS:
            await asyncio.sleep(0)
            done.append(len(loop.passes))
        assert max(after - before for before, after in pairwise(done)) <= WORKERS


async def test_a_new_run_does_not_wait_behind_the_backlog() -> None:
    """What becomes due now is looked at after at most as many passes as were let into the queue."""
    async with a_new_leader() as loop:
        await loop.until(lambda: len(loop.passes) > 0)
        before = len(loop.passes)
        loop.queue.add("new")
        await loop.until(lambda: "new" in loop.passes)
        assert loop.passes.index("new") - before <= BACKLOG_AT_ONCE + WORKERS
        assert len(loop.passes) < RUNS


async def test_pending_runs_come_first() -> None:
    """A run that waits for a pod is looked at before those that wait for something else; each is looked at once."""
    async with a_new_leader() as loop:
        await loop.until(lambda: len(loop.passes) > RUNS)
        assert loop.passes[0] == "zz"
        assert sorted(loop.passes) == sorted(set(loop.passes))


class PassingLoop(CountingLoop):
    """Makes its passes, too."""

    async def once(self, uid: str) -> None:
        """Note it and make it."""
        await super().once(uid)
        await RunLoop.once(self, uid)


SPOKEN = [({"active_version": "v2"}, []), ({"cancels_runs": True}, ["r0", "r1"])]


@pytest.mark.parametrize(("change", "concerned"), SPOKEN)
async def test_a_fleets_word_concerns_its_parked_runs_rarely(change: dict[str, Any], concerned: list[str]) -> None:
    """A promote looks at none of ten thousand parked runs; a fleet that is deleted with its runs, at each."""
    store = Store()
    store.set_fleet(FLEET)
    parked = (msgspec.structs.replace(a_run(f"r{n}", "Parked"), version="v1", limits=LIMITS) for n in range(2))
    store.runs.replace([*parked], "100")
    async with working(PassingLoop(store)) as loop:
        await loop.until(lambda: len(loop.passes) == 2)
        await asyncio.sleep(0)
        loop.passes.clear()
        store.set_fleet(replace(FLEET, **change))
        loop.queue.add("last")
        await loop.until(lambda: "last" in loop.passes)
    assert set(loop.passes) == {"last", *concerned}
