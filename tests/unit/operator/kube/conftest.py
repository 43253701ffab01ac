"""A fake API server, a client of it, and a reflector on it."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from pinfleet_operator.clock import SystemClock
from pinfleet_operator.kube.client import KubeClient
from pinfleet_operator.kube.reflector import Reflector
from pinfleet_operator.kube.resources import AGENT_RUNS
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.reflection import Bench, Json, QuickClock, RecordingSink


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    """A fake API server without objects."""
    async with FakeApiServer() as made:
        yield made


@pytest.fixture
async def kube(server: FakeApiServer) -> AsyncIterator[KubeClient]:
    """A client of it, with short limits."""
    async with KubeClient(server.endpoint, SystemClock(), call_seconds=2, silence_seconds=0.3) as made:
        yield made


@pytest.fixture
async def bench(server: FakeApiServer, kube: KubeClient) -> AsyncIterator[Bench]:
    """A reflector that has not begun."""
    clock, sink = QuickClock(), RecordingSink()
    reflector: Reflector[Json] = Reflector(kube, AGENT_RUNS, json.loads, sink, clock=clock, sync_seconds=0.5)
    made = Bench(server, kube, clock, sink, reflector)
    yield made
    if made.task is not None:
        made.task.cancel()
        await asyncio.gather(made.task, return_exceptions=True)
