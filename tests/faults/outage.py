"""An outage of the API server and of etcd, as a plan's script asks for it. It harms every play on the cluster."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from localcluster import Cluster

SECONDS: Final = 30.0
SERVER: Final = ("etcd", "kube-apiserver")  # in the order of starting


@asynccontextmanager
async def outages(cluster: Cluster) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """What ends the API server and etcd, by SIGKILL; both are back after a while, and when the block ends."""
    returning: list[asyncio.Task[None]] = []

    async def come_back() -> None:
        await asyncio.sleep(SECONDS)
        for name in SERVER:
            await asyncio.to_thread(cluster.start_component, name)

    async def end() -> None:
        for name in reversed(SERVER):
            await asyncio.to_thread(cluster.stop_component, name, signal.SIGKILL)
        returning.append(asyncio.create_task(come_back()))

    try:
        yield end
    finally:
        await asyncio.gather(*returning)
