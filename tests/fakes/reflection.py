"""A reflector between a fake API server and a sink that keeps what it is told."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pinfleet_operator.clock import SystemClock
from pinfleet_operator.kube.client import KubeClient
from pinfleet_operator.kube.reflector import Reflector
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.memory import Scope

Json = dict[str, Any]


class QuickClock(SystemClock):
    """The machine's clock, whose pauses are noted and last no time."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.ahead_seconds = 0.0

    def boottime(self) -> float:
        """The machine's, and what the test adds to it."""
        return super().boottime() + self.ahead_seconds

    async def sleep(self, seconds: float) -> None:
        """Note it, and let others run."""
        self.pauses.append(seconds)
        await asyncio.sleep(0.001)


@dataclass
class RecordingSink:
    """What a reflector told, and the objects that follow from it."""

    objects: dict[str, Json] = field(default_factory=dict)  # by uid
    told: list[tuple[str, str]] = field(default_factory=list)  # (call, resourceVersion), in order
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def replace(self, items: list[Json], resource_version: str) -> None:
        """Mark and sweep."""
        self.objects = {item["metadata"]["uid"]: item for item in items}
        self._note("replace", resource_version)

    def upsert(self, item: Json, resource_version: str) -> None:
        """Keep it."""
        self.objects[item["metadata"]["uid"]] = item
        self._note("upsert", resource_version)

    def remove(self, item: Json, resource_version: str) -> None:
        """Drop it."""
        self.objects.pop(item["metadata"]["uid"], None)
        self._note("remove", resource_version)

    def bookmark(self, resource_version: str) -> None:
        """Note it."""
        self._note("bookmark", resource_version)

    def _note(self, call: str, resource_version: str) -> None:
        self.told.append((call, resource_version))
        self.moved.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once the condition holds; it is looked at after every call."""
        async with asyncio.timeout(10):
            while not condition():
                self.moved.clear()
                await self.moved.wait()


@dataclass
class Bench:
    """A fake server with one reflector of its AgentRuns."""

    server: FakeApiServer
    kube: KubeClient
    clock: QuickClock
    sink: RecordingSink
    reflector: Reflector[Json]
    task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Run the reflector."""
        self.task = asyncio.create_task(self.reflector.run())

    async def synced(self) -> None:
        """Run the reflector up to its first snapshot."""
        self.start()
        async with asyncio.timeout(10):
            await self.reflector.synced.wait()

    def create(self, *names: str) -> None:
        """Make runs on the server."""
        for name in names:
            self.server.memory.create("agentruns", "ns", run_body(name))

    def delete(self, *names: str) -> None:
        """Delete runs on the server."""
        for name in names:
            self.server.memory.delete("agentruns", "ns", name, {})

    def set_phase(self, name: str, phase: str) -> None:
        """Change a run on the server."""
        self.server.memory.patch("agentruns", "ns", name, {"status": {"phase": phase}}, status=True)

    def truth(self) -> dict[str, Json]:
        """What the sink must hold."""
        return {item["metadata"]["uid"]: item for item in self.server.memory.list(Scope("agentruns"))}

    async def equal(self) -> None:
        """Return once the sink equals the server."""
        await self.sink.until(lambda: self.sink.objects == self.truth())


def run_body(name: str, phase: str | None = None) -> Json:
    """An AgentRun, as little as the fake needs."""
    body: Json = {"metadata": {"name": name}, "spec": {"task": {"agentDeployment": "fleet"}}}
    return body if phase is None else {**body, "status": {"phase": phase}}
