"""A pod without sockets: the machine, driver, runtime and journal of a real one, on the running loop."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from pinfleet import clock
from pinfleet.agent import Agent
from pinfleet.journal.interface import Journal
from pinfleet.journal.worker import JournalWorker
from pinfleet.pod.actions import Reply
from pinfleet.pod.driver import PodDriver
from pinfleet.pod.machine import PodMachine
from pinfleet.pod.runner import watch_tasks
from pinfleet.reports import Place, Trace, silent
from pinfleet.rules import ALL, Rules
from pinfleet.wire import EndReason, Offer, RunListing

_TICK_SECONDS: Final = 0.25


class LocalPod:
    """One pod; make it inside of a running loop.

    Args:
        agent: Whose runs it executes.
        journal: Closed with the pod.
        version: What it serves.
        uid: Its name; another for each pod.
        capacity: Most runs that it holds at once.
        park_after_seconds: Shorter waits stay warm.
        cancel_grace_seconds: What code gets to stop.
        rules: All of them, but in a negative control.
        trace: Hears what code does.
        pause: Waits between two tries.
    """

    def __init__(
        self,
        agent: Agent,
        journal: Journal,
        *,
        version: str,
        uid: str,
        capacity: int = 1_000,
        park_after_seconds: float = 10.0,
        cancel_grace_seconds: float = 30.0,
        rules: Rules = ALL,
        trace: Trace = silent,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(watch_tasks)  # type: ignore[arg-type] # the stub does not know `context`
        self.uid = uid
        self.machine = PodMachine(
            version=version,
            pod_uid=uid,
            boot=secrets.token_hex(8),
            capacity=capacity,
            cancel_grace_seconds=cancel_grace_seconds,
            rules=rules,
        )
        place = Place(version, uid, park_after_seconds, cancel_grace_seconds, rules, trace, pause)
        self.worker = JournalWorker(journal)
        self.driver = PodDriver(self.machine, agent, self.worker, place, loop)
        self._ticks = loop.create_task(self._tick())

    async def offer(self, uid: str, offer: Offer) -> Reply:
        """Offer a run."""
        return await self.driver.call(lambda tag: self.machine.offer(tag, uid, offer, clock.now()))

    async def ack(self, uid: str, epoch: int) -> Reply:
        """Say that a run's end or park is known."""
        return await self.driver.call(lambda tag: self.machine.ack(tag, uid, epoch))

    async def end(self, uid: str, epoch: int, reason: EndReason) -> Reply:
        """Ask for a run's end."""
        return await self.driver.call(lambda tag: self.machine.delete(tag, uid, epoch, reason, clock.now()))

    def drain(self) -> None:
        """Stop every run at its next step boundary."""
        self.driver.apply(self.machine.drain())

    @property
    def runs(self) -> tuple[RunListing, ...]:
        """What it lists."""
        return self.machine.state(0, "").runs

    async def change(self, after: int, seconds: float) -> int:
        """Wait for a change after a number, or for the time to be over; return the newest change's number."""
        await self.driver.wait_for_change(after, seconds)
        return self.machine.n

    async def close(self) -> None:
        """Let the journal go; runs that are still executed stay where their last commit left them."""
        self._ticks.cancel()
        await asyncio.to_thread(self.worker.close)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            self.driver.apply(self.machine.tick(clock.now()))
