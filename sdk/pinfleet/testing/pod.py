"""A pod of a test: a local one whose retries do not wait, and whose listing a test waits for."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

from pinfleet import clock
from pinfleet.agent import Agent
from pinfleet.journal.interface import Journal
from pinfleet.local.pod import LocalPod
from pinfleet.pod.actions import Reply
from pinfleet.wire import EndReason, Offer, RunListing

VERSION: Final = "v1"
PATIENCE_SECONDS: Final = 20.0


class TestPod(LocalPod):
    """One pod.

    Args:
        agent: Whose runs it executes.
        journal: Its own connection to the journal; pods that share a database share their runs.
        uid: Of the pod.
        capacity: Most runs held at once.
        version: That it serves.
        **options: For ``LocalPod``.
    """

    __test__ = False  # no class of tests, whatever its name says to pytest

    def __init__(
        self,
        agent: Agent,
        journal: Journal,
        *,
        uid: str = "pod-1",
        capacity: int = 4,
        version: str = VERSION,
        **options: Any,
    ) -> None:
        super().__init__(agent, journal, version=version, uid=uid, capacity=capacity, pause=_at_once, **options)

    async def ack(self, uid: str, epoch: int = 1) -> Reply:
        """Ack a run."""
        return await super().ack(uid, epoch)

    async def delete(self, uid: str, epoch: int = 1, reason: EndReason = "cancel") -> Reply:
        """End a run."""
        return await self.end(uid, epoch, reason)

    def tick(self, later_seconds: float = 0.0) -> None:
        """Let time pass for the machine."""
        now = clock.now()
        self.driver.apply(self.machine.tick(clock.Moment(now.wall, now.monotonic + later_seconds)))

    def look(self) -> None:
        """Let the waits of live code see that the clock was moved."""
        for run in self.driver.executions:
            run.waiting.look()

    def listing(self, uid: str) -> RunListing | None:
        """Return how the run is listed."""
        return next((run for run in self.runs if run.uid == uid), None)

    async def until(self, uid: str, state: str) -> RunListing:
        """Wait until the run is listed in a state; another final state fails at once."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                listed = self.listing(uid)
                if listed is not None and listed.state == state:
                    return listed
                assert listed is None or listed.state == "running", listed  # noqa: S101 - a tool of tests
                await self.driver.wait_for_change(self.machine.n, PATIENCE_SECONDS)

    async def changed(self, is_there: Callable[[RunListing], bool], uid: str) -> RunListing:
        """Wait until the run is listed as asked for."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                self.tick()
                listed = self.listing(uid)
                if listed is not None and is_there(listed):
                    return listed
                await self.driver.wait_for_change(self.machine.n, 0.01)  # progress is told by the next tick

    async def until_empty(self) -> None:
        """Wait until no slot is taken."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self.machine.is_empty:
                await self.driver.wait_for_change(self.machine.n, PATIENCE_SECONDS)

    async def result(self, uid: str, made: Offer) -> Any:
        """Execute a run to its success and return its result."""
        await self.offer(uid, made)
        listed = await self.until(uid, "succeeded")
        assert listed.outcome is not None  # noqa: S101 - a tool of tests
        return json.loads(bytes(listed.outcome.result))

    def leave(self) -> None:
        """Let the journal go, outside of a loop."""
        self.worker.close()


async def _at_once(_: float) -> None:
    await asyncio.sleep(0)
