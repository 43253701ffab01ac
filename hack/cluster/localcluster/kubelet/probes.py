"""Probes of one running execution: startup first, then readiness and liveness, no faster than a real kubelet's.

They go to the process's own address, so a cut network does not show here.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import aiohttp

from localcluster.kubelet.api import Object
from localcluster.kubelet.runtime import Launch

_MINIMUM_SECONDS = 1
_OK = range(200, 400)


class Listener(Protocol):
    """Who acts on results."""

    def on_started(self) -> None:
        """The startup probe succeeded, or there is none."""

    def on_ready(self, *, is_ready: bool) -> None:
        """What readiness is now."""

    async def on_dead(self, message: str) -> None:
        """Liveness or startup failed for good: the container must be restarted."""


async def run(container: Object, address: str, launch: Launch, listener: Listener) -> None:
    """Probe one execution until cancelled.

    Args:
        container: the container's spec.
        address: the process's own address.
        launch: how the container was started; exec probes run likewise.
        listener: who acts on results.
    """
    if startup := container.get("startupProbe"):
        async for is_ok in _results(startup, container, address, launch):
            if is_ok:
                break
            await listener.on_dead("startup probe failed")
            return
    listener.on_started()
    tasks = []
    if readiness := container.get("readinessProbe"):
        tasks.append(asyncio.create_task(_readiness(readiness, container, address, launch, listener)))
    else:
        listener.on_ready(is_ready=True)
    if liveness := container.get("livenessProbe"):
        tasks.append(asyncio.create_task(_liveness(liveness, container, address, launch, listener)))
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def _readiness(probe: Object, container: Object, address: str, launch: Launch, listener: Listener) -> None:
    async for is_ok in _results(probe, container, address, launch):
        listener.on_ready(is_ready=is_ok)


async def _liveness(probe: Object, container: Object, address: str, launch: Launch, listener: Listener) -> None:
    async for is_ok in _results(probe, container, address, launch):
        if not is_ok:
            await listener.on_dead("liveness probe failed")
            return


async def _results(probe: Object, container: Object, address: str, launch: Launch) -> AsyncIterator[bool]:
    """Yield True or False each time that a threshold is reached."""
    check = _check_of(probe, container, address, launch)
    timeout = max(_MINIMUM_SECONDS, probe.get("timeoutSeconds", 1))
    thresholds = {True: probe.get("successThreshold", 1), False: probe.get("failureThreshold", 3)}
    await asyncio.sleep(probe.get("initialDelaySeconds", 0))
    last, count = None, 0
    while True:
        is_ok = await _attempt(check, timeout)
        count = count + 1 if is_ok == last else 1
        last = is_ok
        if count >= thresholds[is_ok]:
            yield is_ok
        await asyncio.sleep(max(_MINIMUM_SECONDS, probe.get("periodSeconds", 10)))


async def _attempt(check: Callable[[float], Awaitable[bool]], timeout: float) -> bool:  # noqa: ASYNC109
    try:
        return await asyncio.wait_for(check(timeout), timeout)
    except (TimeoutError, aiohttp.ClientError, OSError):
        return False


def _check_of(probe: Object, container: Object, address: str, launch: Launch) -> Callable[[float], Awaitable[bool]]:
    """The one attempt of a probe."""
    if http := probe.get("httpGet"):
        port = port_of(http["port"], container)
        host = http.get("host") or address
        url = f"{http.get('scheme', 'HTTP').lower()}://{host}:{port}{http.get('path') or '/'}"
        headers = {item["name"]: item["value"] for item in http.get("httpHeaders", [])}
        return lambda timeout: _http(url, headers, timeout)
    if tcp := probe.get("tcpSocket"):
        return lambda _: _tcp(tcp.get("host") or address, port_of(tcp["port"], container))
    return lambda _: execute(probe["exec"]["command"], launch)


def port_of(port: int | str, container: Object) -> int:
    """A port's number; a name is looked up among the container's ports."""
    if isinstance(port, int):
        return port
    named = (item["containerPort"] for item in container.get("ports", []) if item.get("name") == port)
    return int(next(named, 0))


async def _http(url: str, headers: dict[str, str], seconds: float) -> bool:
    headers = {"User-Agent": "kube-probe/1.34", "Connection": "close"} | headers
    timeout = aiohttp.ClientTimeout(total=seconds)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(url, headers=headers, ssl=False, allow_redirects=False) as got,
    ):
        return got.status in _OK


async def _tcp(host: str, port: int) -> bool:
    _, writer = await asyncio.open_connection(host, port)
    writer.close()
    return True


async def execute(command: list[str], launch: Launch) -> bool:
    """Whether a command, run as the container is, exits with 0; it is killed when the caller gives up."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=launch.environment,
        cwd=launch.folder,
        start_new_session=True,
    )
    try:
        return await process.wait() == 0
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
