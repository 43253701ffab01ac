"""The process of an agent pod: the author's loop in the main thread, the server's in another, the journal's in a third.

A journal that refuses for good ends the process, at its start or later, with what is wrong as its last words: its runs
are assigned again, and the fleet shows why its pods die.

SIGTERM drains: every run stops at its next step boundary and is listed; the process goes once all are acked, or when
its grace is over. A signal reaches the server's loop by a socket, so blocked author code cannot hold it up.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from pinfleet import clock
from pinfleet.agent import Agent
from pinfleet.config import Settings
from pinfleet.errors import BadConfiguration, JournalRefused, JournalUnavailable
from pinfleet.journal.opening import open_journal
from pinfleet.journal.retention import prune_for_ever
from pinfleet.journal.worker import JournalWorker
from pinfleet.pod.driver import PodDriver
from pinfleet.pod.machine import PodMachine
from pinfleet.pod.runner import watch_tasks
from pinfleet.pod.server import PodServer
from pinfleet.pod.token import Tokens
from pinfleet.position import PROCESS
from pinfleet.reports import Place
from pinfleet.rules import Rules

_LOG: Final = logging.getLogger("pinfleet.pod")
_TICK_SECONDS: Final = 0.5
_GONE_SECONDS: Final = 2.0  # what the author's loop gets to end by itself
_GRACE_OVER: Final = 128 + signal.SIGTERM


@dataclass(slots=True)
class _Shared:
    """What the two threads share."""

    author_loop: asyncio.AbstractEventLoop
    done: asyncio.Event  # of the author's loop: the process may go
    signals: socket.socket  # a byte arrives with each signal
    failure: list[BaseException] = field(default_factory=list)


def serve(agent: Agent, settings: Settings, rules: Rules) -> int:
    """Serve until drained; return the exit code.

    Raises:
        JournalRefused: The journal cannot be used, and trying again does not help.
    """
    if rules.off:
        _LOG.critical("UNSAFE: rules are off; runs can be lost or done twice", extra={"off": list(rules.off)})
    journal, reader = (open_journal(settings.state, rules=rules, codec=agent.codec) for _ in range(2))
    try:
        journal.check()
    except JournalUnavailable as err:
        _LOG.warning("not ready", extra={"cause": str(err)})
    worker = JournalWorker(journal, reader)
    PROCESS.serves = True
    return asyncio.run(_author(agent, settings, rules, worker))


async def _author(agent: Agent, settings: Settings, rules: Rules, worker: JournalWorker) -> int:
    """Be the loop that the author's code runs on."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(watch_tasks)  # type: ignore[arg-type] # the stub does not know `context`
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setblocking(False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # the byte on the socket is what counts
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    shared = _Shared(loop, asyncio.Event(), ours)
    thread = threading.Thread(
        target=_run_server, args=(agent, settings, rules, worker, shared), name="pinfleet-server", daemon=True
    )
    thread.start()
    await shared.done.wait()
    if shared.failure:
        raise shared.failure[0]
    return 0


def _run_server(agent: Agent, settings: Settings, rules: Rules, worker: JournalWorker, shared: _Shared) -> None:
    """Be the server's thread; when it returns, the process goes, even if author code blocks the main thread."""
    code = 0
    try:
        code = asyncio.run(_server(agent, settings, rules, worker, shared))
    except BaseException as err:  # noqa: BLE001 - told by the main thread, which ends the process
        _LOG.exception("the pod's server failed")
        shared.failure.append(err)
        code = 1
    if code != _GRACE_OVER:
        shared.author_loop.call_soon_threadsafe(shared.done.set)
        threading.Event().wait(_GONE_SECONDS)
    logging.shutdown()
    os._exit(code)


async def _server(agent: Agent, settings: Settings, rules: Rules, worker: JournalWorker, shared: _Shared) -> int:
    machine = PodMachine(
        version=settings.version,
        pod_uid=settings.pod_uid,
        boot=secrets.token_hex(8),
        capacity=settings.runs_per_pod,
        cancel_grace_seconds=settings.cancel_grace_seconds,
        rules=rules,
    )
    place = Place(
        version=settings.version,
        pod_uid=settings.pod_uid,
        park_after_seconds=settings.park_after_seconds,
        cancel_grace_seconds=settings.cancel_grace_seconds,
        rules=rules,
    )
    driver = PodDriver(machine, agent, worker, place, shared.author_loop)
    told = asyncio.Event()
    worker.on_refused = _ending(asyncio.get_running_loop(), told, shared)
    asyncio.get_running_loop().add_reader(shared.signals, _read_signal, shared.signals, told)
    server = PodServer(driver, Tokens(settings.token_file), worker, rules)
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, settings.host, settings.port, shutdown_timeout=1.0)
    try:
        await site.start()
    except OSError as err:
        raise BadConfiguration(f"cannot listen on {settings.host} port {settings.port}: {err}") from err
    _LOG.info("serving", extra={"agent": agent.name, "boot": machine.boot, "address": runner.addresses[0]})
    ticking = asyncio.ensure_future(_tick(driver))
    pruning = asyncio.ensure_future(prune_for_ever(worker, settings.retention_seconds))
    await told.wait()
    if shared.failure:
        raise shared.failure[0]
    code = await _drain(driver, settings.drain_grace_seconds)
    ticking.cancel()
    pruning.cancel()
    driver.wake()
    await runner.cleanup()
    return code


def _ending(loop: asyncio.AbstractEventLoop, told: asyncio.Event, shared: _Shared) -> Callable[[JournalRefused], None]:
    """Return what ends the process once the journal refuses; the journal's thread calls it."""

    def end(err: JournalRefused) -> None:
        if not shared.failure:
            shared.failure.append(err)
            _LOG.critical("journal refused; the pod ends", extra={"cause": str(err)})
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends already
            loop.call_soon_threadsafe(told.set)

    return end


async def _tick(driver: PodDriver) -> None:
    while True:
        await asyncio.sleep(_TICK_SECONDS)
        driver.apply(driver.machine.tick(clock.now()))


async def _drain(driver: PodDriver, grace_seconds: float) -> int:
    """Drain, and return once every run is acked or the grace is over."""
    driver.apply(driver.machine.drain())
    _LOG.info("draining", extra={"grace_seconds": grace_seconds})
    try:
        async with asyncio.timeout(grace_seconds):
            while driver.machine.holds_listed:
                await driver.wait_for_change(driver.machine.n, grace_seconds)
    except TimeoutError:
        _LOG.warning("the drain grace is over; what is left is assigned again")
        return _GRACE_OVER
    return 0


def _read_signal(signals: socket.socket, told: asyncio.Event) -> None:
    while True:
        try:
            read = signals.recv(64)
        except BlockingIOError:
            return
        if not read:
            return
        if set(read) & {signal.SIGTERM, signal.SIGINT}:
            told.set()
