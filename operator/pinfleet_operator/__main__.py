"""Starts one operator process: waits for the Lease, leads, and exits when it may not lead any more.

Whatever ends that must not end (kopf, a watch, a worker, the Lease) ends the process: Kubernetes starts it again, and a
new process makes no difference to any run.
"""

import asyncio
import signal
import sys
from collections.abc import Coroutine

import structlog
import uvloop

from pinfleet_operator.clock import SystemClock
from pinfleet_operator.config import Config, read_config
from pinfleet_operator.control_plane import ControlPlane, Ends
from pinfleet_operator.errors import BadConfig, Bug
from pinfleet_operator.handlers import run_kopf
from pinfleet_operator.health import Health
from pinfleet_operator.kube.client import KubeClient
from pinfleet_operator.kube.credentials import Endpoint, load_endpoint
from pinfleet_operator.lease import Elector
from pinfleet_operator.logs import configure
from pinfleet_operator.wire import PodClient

LEASE_NAME = "pinfleet-operator"
DEEPEST_JSON = 25_000
"""kopf reads manifests with the json module, which recurses; the API server takes 10,000 levels of nesting."""

log = structlog.get_logger()


def main() -> None:
    """Run until told to stop (exit code 0) or unable to go on (1)."""
    try:
        config = read_config()
    except BadConfig as err:
        sys.exit(f"pinfleet-operator cannot start: {err}")
    sys.setrecursionlimit(DEEPEST_JSON)
    configure(is_verbose=config.is_verbose)
    if config.settings.rules_off:
        log.warning("rules_off", rules=sorted(config.settings.rules_off), what="this is for tests alone")
    sys.exit(uvloop.run(run(config)))


async def run(config: Config) -> int:
    """The whole process; returns its exit code."""
    stopping = asyncio.Event()
    _take_signals(stopping)
    clock = SystemClock()
    endpoint = load_endpoint(clock)
    async with KubeClient(endpoint, clock) as kube:
        elector = Elector(
            kube,
            namespace=config.namespace,
            name=LEASE_NAME,
            identity=config.identity,
            clock=clock,
            times=config.lease,
            on_lost=lambda: None,  # its task ends, and with it the process
        )
        async with PodClient(
            config.key,
            leader_number=lambda: elector.transitions if elector.is_leader else None,
            guard=elector.guard,
            clock=clock,
            call_seconds=config.settings.call_seconds,
        ) as pods:
            ends = Ends(kube=kube.guarded(elector.guard), pods=pods, leader=elector, clock=clock)
            return await _serve(config, ends, elector, endpoint, stopping)


async def _serve(config: Config, ends: Ends, elector: Elector, endpoint: Endpoint, stopping: asyncio.Event) -> int:
    plane = ControlPlane(ends, key=config.key, settings=config.settings, namespace=config.watched_namespace)
    health = Health(silent_seconds=plane.silent_seconds, is_ready=lambda: plane.is_ready)
    await health.start(config.health_host, config.health_port)
    tasks = [
        _named("watches", plane.watch()),
        _named("lease", elector.run()),
        _named("leader", _lead(plane, elector, endpoint, config, stopping)),
        _named("signal", stopping.wait()),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await elector.release()  # first: from here on nothing of ours is written, and the next one need not wait for us
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await health.stop()
    if stopping.is_set():
        return 0
    for task, result in zip(tasks, ended, strict=True):
        if task in done:
            log.error("ended", part=task.get_name(), exc_info=result if isinstance(result, Exception) else None)
    return 1


async def _lead(
    plane: ControlPlane, elector: Elector, endpoint: Endpoint, config: Config, stopping: asyncio.Event
) -> None:
    await elector.acquired.wait()
    async with asyncio.TaskGroup() as group:
        group.create_task(plane.lead())
        await run_kopf(
            plane.fleets.add,
            namespace=config.watched_namespace,
            endpoint=endpoint,
            on_started=lambda: _take_signals(stopping),
        )
        raise Bug("kopf ended, and with it the watch of AgentDeployments")


def _take_signals(stopping: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)


def _named(name: str, work: Coroutine[object, object, object]) -> asyncio.Task[object]:
    return asyncio.create_task(work, name=name)


if __name__ == "__main__":
    main()
