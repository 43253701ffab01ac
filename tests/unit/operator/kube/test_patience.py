"""The pause that the API server asks for holds for every call of the client, and for no renewal of a Lease."""

import pytest

from pinfleet_operator.errors import Unavailable
from pinfleet_operator.kube.client import KubeClient
from pinfleet_operator.kube.patience import LONGEST_SECONDS
from pinfleet_operator.kube.resources import AGENT_RUNS, LEASES, PODS, Resource
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.clock import StepClock
from tests.fakes.faults import Answer
from tests.fakes.reflection import run_body


@pytest.mark.parametrize(
    ("wish", "asked", "waits"),
    [("3", AGENT_RUNS, 3.0), ("3600", AGENT_RUNS, LONGEST_SECONDS), (None, AGENT_RUNS, 0.0), ("3", LEASES, 0.0)],
)
async def test_no_call_leaves_before_the_time_that_a_429_asked_for(
    server: FakeApiServer, wish: str | None, asked: Resource, waits: float
) -> None:
    """Whichever object it is about: the server counts by account; an hour is not believed, and a Lease is exempt."""
    clock = StepClock()
    server.memory.create("agentruns", "ns", run_body("run"))
    server.inject(Answer(429, retry_after=wish), lambda _: True)
    async with KubeClient(server.endpoint, clock) as kube:
        with pytest.raises(Unavailable):
            await kube.get(PODS, "ns", "pod")
        began = clock.boottime()
        server.inject(Answer(500), lambda _: True)
        with pytest.raises(Unavailable):
            await kube.guarded(lambda: None).get(asked, "ns", "run")
        assert clock.boottime() - began == waits
