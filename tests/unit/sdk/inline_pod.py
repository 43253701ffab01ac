"""A pod without sockets: the real machine, driver, runner and journal, on the loop of the test."""

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec

from pinfleet import clock
from pinfleet.agent import Agent
from pinfleet.journal.sqlite import SqliteJournal
from pinfleet.journal.worker import JournalWorker
from pinfleet.pod.actions import Reply
from pinfleet.pod.driver import PodDriver
from pinfleet.pod.machine import PodMachine
from pinfleet.pod.runner import watch_tasks
from pinfleet.reports import Place
from pinfleet.rules import ALL, Rules
from pinfleet.wire import EndReason, Offer, OfferLimits, RunListing

PATIENCE_SECONDS = 20.0


def offer(epoch: int = 1, *, given: object = None, max_steps: int = 100, **more: Any) -> Offer:
    """Return an offer of a run of version v1."""
    limits = OfferLimits(max_steps=max_steps, active_seconds_left=more.pop("active_seconds_left", 1_000.0))
    text = msgspec.Raw(json.dumps(given).encode())
    return Offer(
        name="run", version=more.pop("version", "v1"), epoch=epoch, attempt=1, limits=limits, input=text, **more
    )


class InlinePod:
    """One pod.

    Args:
        agent: Whose runs it executes.
        folder: Where the journal is; pods that share it share their runs.
    """

    def __init__(
        self,
        agent: Agent,
        folder: Path,
        *,
        uid: str = "pod-1",
        capacity: int = 4,
        park_after_seconds: float = 10.0,
        cancel_grace_seconds: float = 30.0,
        rules: Rules = ALL,
    ) -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(watch_tasks)  # type: ignore[arg-type] # the stub does not know `context`
        self.machine = PodMachine(
            version="v1",
            pod_uid=uid,
            boot=f"boot-of-{uid}",
            capacity=capacity,
            cancel_grace_seconds=cancel_grace_seconds,
            rules=rules,
        )
        place = Place("v1", uid, park_after_seconds, cancel_grace_seconds, rules, pause=lambda _: asyncio.sleep(0))
        self.worker = JournalWorker(SqliteJournal(folder / "journal.db", rules=rules, busy_seconds=0.2))
        self.driver = PodDriver(self.machine, agent, self.worker, place, loop)

    async def offer(self, uid: str, made: Offer) -> Reply:
        """Offer a run."""
        return await self.driver.call(lambda tag: self.machine.offer(tag, uid, made, clock.now()))

    async def ack(self, uid: str, epoch: int = 1) -> Reply:
        """Ack a run."""
        return await self.driver.call(lambda tag: self.machine.ack(tag, uid, epoch))

    async def delete(self, uid: str, epoch: int = 1, reason: EndReason = "cancel") -> Reply:
        """End a run."""
        return await self.driver.call(lambda tag: self.machine.delete(tag, uid, epoch, reason, clock.now()))

    def drain(self) -> None:
        """Drain the pod."""
        self.driver.apply(self.machine.drain())

    def tick(self, later_seconds: float = 0.0) -> None:
        """Let time pass for the machine."""
        now = clock.now()
        self.driver.apply(self.machine.tick(clock.Moment(now.wall, now.monotonic + later_seconds)))

    def listing(self, uid: str) -> RunListing | None:
        """Return how the run is listed."""
        return next((run for run in self.machine.state(0, "").runs if run.uid == uid), None)

    async def until(self, uid: str, state: str) -> RunListing:
        """Wait until the run is listed in a state; another final state fails at once."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                listed = self.listing(uid)
                if listed is not None and listed.state == state:
                    return listed
                assert listed is None or listed.state == "running", listed
                await self.driver.wait_for_change(self.machine.n, PATIENCE_SECONDS)

    async def until_empty(self) -> None:
        """Wait until no slot is taken."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self.machine.is_empty:
                await self.driver.wait_for_change(self.machine.n, PATIENCE_SECONDS)

    async def result(self, uid: str, given: object = None) -> Any:
        """Execute a run to its success and return its result."""
        await self.offer(uid, offer(given=given))
        listed = await self.until(uid, "succeeded")
        assert listed.outcome is not None
        return json.loads(bytes(listed.outcome.result))

    def close(self) -> None:
        """Let the journal go."""
        self.worker.close()
