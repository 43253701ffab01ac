"""One case, three servers: the fake over HTTP, the simulator's in memory, and a real kube-apiserver.

A fake that a case cannot tell from the real one may stand in for it in every other test.
"""

import asyncio
import random
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import cast

import pytest

from localcluster import Cluster
from pinfleet_operator.clock import SystemClock
from pinfleet_operator.errors import Unavailable
from pinfleet_operator.kube.api import Kube
from pinfleet_operator.kube.client import KubeClient
from pinfleet_operator.kube.credentials import load_endpoint
from pinfleet_operator.kube.resources import AGENT_RUNS, NAMESPACES
from tests.contract.place import EVERYWHERE, Place
from tests.fakes.apiserver import FakeApiServer
from tests.sim.api import Client
from tests.sim.net import Net
from tests.sim.server import Server

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A fresh cluster that serves the CRDs of this checkout."""
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    made.up()
    try:
        kubectl = [str(made.kubectl), "--kubeconfig", str(made.kubeconfig)]
        subprocess.run([*kubectl, "apply", "--server-side", "-f", str(ROOT / "crds")], check=True)
        subprocess.run([*kubectl, "wait", "--for=condition=Established", "--all", "crd", "--timeout=30s"], check=True)
        yield made
    finally:
        made.down()


@pytest.fixture(params=EVERYWHERE)
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """An empty namespace of a server."""
    if request.param == "sim":
        yield Place(cast("Kube", Client(Server(), Net(random.Random(0), Unavailable))), "ns", "sim")
    elif request.param == "fake":
        async with FakeApiServer() as server, KubeClient(server.endpoint, SystemClock()) as kube:
            yield Place(kube, "ns", "fake", server)
    else:
        clock = SystemClock()
        config = request.getfixturevalue("cluster").kubeconfig
        async with KubeClient(load_endpoint(clock, kubeconfig=str(config)), clock) as kube:
            await settled(kube)
            namespace = f"t-{uuid.uuid4().hex[:12]}"
            await kube.create(NAMESPACES, None, f'{{"metadata":{{"name":"{namespace}"}}}}'.encode())
            yield Place(kube, namespace, "real")


async def settled(kube: KubeClient) -> None:
    """Return once the server watches the CRDs' storage: for a second after their making it answers 429."""
    async with asyncio.timeout(20):
        while True:
            try:
                async with aclosing(kube.watch(AGENT_RUNS, send_initial_events=True)) as lines:
                    await anext(lines)
                    return
            except Unavailable:
                await asyncio.sleep(0.1)
