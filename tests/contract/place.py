"""An empty namespace of some API server, and short ways to say what the cases say."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from pinfleet_operator.kube.api import Kube
from pinfleet_operator.kube.resources import AGENT_RUNS, Resource
from tests.fakes.apiserver import FakeApiServer

Json = dict[str, Any]

REAL = pytest.param("real", marks=pytest.mark.cluster)
EVERYWHERE = ["fake", "sim", REAL]

beyond_sim = pytest.mark.parametrize("place", ["fake", REAL], indirect=True)
"""For what the simulator's server does not claim to do."""

with_schemas = pytest.mark.parametrize("place", [REAL], indirect=True)
"""For what needs the CRDs' schemas and rules."""


@dataclass
class Place:
    """Where a case runs."""

    kube: Kube
    namespace: str
    kind: str  # fake, sim or real
    server: FakeApiServer | None = None

    async def create(self, name: str, *, labels: dict[str, str] | None = None, fleet: str = "fleet") -> Json:
        """Make an AgentRun."""
        body: Json = {
            "apiVersion": "pinfleet.dev/v1alpha1",
            "kind": "AgentRun",
            "metadata": {"name": name, **({"labels": labels} if labels else {})},
            "spec": {"task": {"agentDeployment": fleet}},
        }
        return decoded(await self.kube.create(AGENT_RUNS, self.namespace, encoded(body)))

    async def get(self, name: str, resource: Resource = AGENT_RUNS) -> Json:
        """Read an object."""
        return decoded(await self.kube.get(resource, self.namespace, name))

    async def patch(self, name: str, body: Json, *, status: bool = False) -> Json:
        """Merge into an AgentRun."""
        sub = "status" if status else None
        return decoded(await self.kube.merge_patch(AGENT_RUNS, self.namespace, name, encoded(body), subresource=sub))

    async def set_phase(self, name: str, phase: str, epoch: int = 1, **status: object) -> Json:
        """Write a status."""
        return await self.patch(name, {"status": {"phase": phase, "epoch": epoch, **status}}, status=True)

    @asynccontextmanager
    async def watching(self, **arguments: Any) -> AsyncIterator["Stream"]:
        """A watch of the namespace's AgentRuns."""
        async with aclosing(self.kube.watch(AGENT_RUNS, namespace=self.namespace, **arguments)) as lines:
            yield Stream(lines)


class Stream:
    """A watch's events; bookmarks between changes are passed over."""

    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        self._lines = lines

    async def snapshot(self) -> tuple[list[str], str]:
        """Names of the initial events in their order, and the resourceVersion of the bookmark that ends them."""
        names: list[str] = []
        while True:
            event = await self._next()
            if event["type"] == "BOOKMARK":
                assert event["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
                return names, event["object"]["metadata"]["resourceVersion"]
            assert event["type"] == "ADDED"
            names.append(event["object"]["metadata"]["name"])

    async def change(self) -> Json:
        """The next event that is no bookmark."""
        while (event := await self._next())["type"] == "BOOKMARK":
            pass
        return event

    async def changes(self, count: int) -> list[tuple[str, str]]:
        """(type, name) of so many changes."""
        events = [await self.change() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"]["name"]) for event in events]

    async def _next(self) -> Json:
        async with asyncio.timeout(20):
            return decoded(await anext(self._lines))


def version(item: Json) -> str:
    """An object's resourceVersion."""
    found: str = item["metadata"]["resourceVersion"]
    return found


def names(items: list[Any]) -> list[str]:
    """Names of raw objects, in their order."""
    return [decoded(bytes(item))["metadata"]["name"] for item in items]


def encoded(body: object) -> bytes:
    """As JSON."""
    return json.dumps(body).encode()


def decoded(raw: bytes) -> Json:
    """From JSON."""
    body: Json = json.loads(raw)
    return body
