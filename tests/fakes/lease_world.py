"""Candidates for one Lease, in virtual time, over connections and machines that fail."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from pinfleet_operator.errors import Unavailable
from pinfleet_operator.kube.resources import Resource
from pinfleet_operator.lease import Elector, LeaseTimes
from tests.fakes.kube import MemoryKube
from tests.fakes.memory import Memory
from tests.sim.loop import VirtualClock, run_virtual


class FaultyKube(MemoryKube):
    """A connection that can be cut, and can lose requests or answers."""

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory)
        self.is_cut = False
        self.lost_answers = 0  # of the next writes
        self.hangs = False
        self.answer_seconds = 0.0  # from the write to its answer

    async def merge_patch(
        self, resource: Resource, namespace: str | None, name: str, body: bytes, *, subresource: str | None = None
    ) -> bytes:
        """Patch, with the connection's faults."""
        await self._before()
        answer = await super().merge_patch(resource, namespace, name, body, subresource=subresource)
        await self._after()
        return answer

    async def create(self, resource: Resource, namespace: str | None, body: bytes, *, dry_run: bool = False) -> bytes:
        """Create, with the connection's faults."""
        await self._before()
        answer = await super().create(resource, namespace, body, dry_run=dry_run)
        await self._after()
        return answer

    async def get(self, resource: Resource, namespace: str | None, name: str) -> bytes:
        """Get, with the connection's faults."""
        await self._before()
        return await super().get(resource, namespace, name)

    async def _before(self) -> None:
        await asyncio.sleep(0.01)
        if self.hangs:
            await asyncio.sleep(3600)
        if self.is_cut:
            raise Unavailable("cannot call: cut")

    async def _after(self) -> None:
        await asyncio.sleep(self.answer_seconds)
        if self.lost_answers:
            self.lost_answers -= 1
            raise Unavailable("cannot call: the answer was lost")


class SuspendableClock(VirtualClock):
    """A machine whose BOOTTIME goes on while its tasks do not."""

    def __init__(self) -> None:
        super().__init__()
        self._awake = asyncio.Event()
        self._awake.set()

    async def sleep(self, seconds: float) -> None:
        """Wait; and as long as the machine sleeps, too."""
        await super().sleep(seconds)
        await self._awake.wait()

    def suspend(self) -> None:
        """Stop every task that pauses."""
        self._awake.clear()

    def resume(self) -> None:
        """Go on."""
        self._awake.set()


@dataclass
class Candidate:
    """One process."""

    elector: Elector
    kube: FaultyKube
    clock: SuspendableClock
    losses: list[float] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    def leads(self) -> bool:
        """Whether it believes that it leads."""
        return self.elector.is_leader


class World:
    """Candidates for one Lease; looks after the invariant all the time."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.candidates: list[Candidate] = []
        self.terms: list[tuple[str, int]] = []  # (identity, transitions) as they began

    def join(self, identity: str) -> Candidate:
        """Start a process."""
        kube, clock = FaultyKube(self.memory), SuspendableClock()
        losses: list[float] = []
        elector = Elector(
            kube,
            namespace="ns",
            name="pinfleet",
            identity=identity,
            clock=clock,
            on_lost=lambda: losses.append(clock.boottime()),
            times=LeaseTimes(),
        )
        made = Candidate(elector, kube, clock, losses, asyncio.create_task(elector.run()))
        self.candidates.append(made)
        return made

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and check ten times a second that no two lead and no number comes twice."""
        for _ in range(round(seconds * 10)):
            await asyncio.sleep(0.1)
            leaders = [c.elector for c in self.candidates if c.leads()]
            assert len(leaders) <= 1, "two leaders"
            for leader in leaders:
                term = (leader._identity, leader.transitions)
                if not self.terms or self.terms[-1] != term:
                    assert all(number < leader.transitions for _, number in self.terms), "a number came again"
                    self.terms.append(term)

    def lease(self) -> dict[str, Any]:
        """The Lease's spec."""
        spec: dict[str, Any] = self.memory.get("leases", "ns", "pinfleet")["spec"]
        return spec

    async def end(self) -> None:
        """Stop everybody."""
        tasks = [c.task for c in self.candidates if c.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def simulate(scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario in virtual time."""

    async def run() -> None:
        world = World()
        try:
            await scenario(world)
        finally:
            await world.end()

    run_virtual(run())
