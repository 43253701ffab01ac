"""An agent pod: the production driver, machine, runtime and journal, on the simulator's loop and clock."""

import asyncio
import contextvars
import math
import random
import sqlite3
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pinfleet import clock
from pinfleet.agent import Agent
from pinfleet.clock import Moment
from pinfleet.journal.interface import Batch, Claim, ClaimResult, Commit, CommitResult, Owner
from pinfleet.journal.sqlite import SqliteJournal
from pinfleet.journal.worker import JournalWorker
from pinfleet.pod import actions as act
from pinfleet.pod.driver import PodDriver
from pinfleet.pod.machine import PodMachine
from pinfleet.pod.runner import watch_tasks
from pinfleet.reports import Place
from pinfleet.rules import Rules
from pinfleet.wire import Message
from tests.sim.loop import EPOCH, NumberedTask
from tests.sim.record import Record

IDLE_SECONDS = 60.0
OWNER: ContextVar["SimPod | None"] = ContextVar("sim_pod", default=None)


class ProcessDied(Exception):
    """The process that would have to answer is gone."""


@dataclass(frozen=True)
class PodPlan:
    """What a pod is started with."""

    uid: str
    name: str
    version: str
    capacity: int
    park_after_seconds: float = 10.0
    cancel_grace_seconds: float = 30.0
    clock_ahead_seconds: float = 0.0
    tick_seconds: float = 0.5  # how often it looks at the clock while it holds runs
    journal_seconds: float = 0.0  # longest time of one call to the journal


class SimJournal(SqliteJournal):
    """The production journal, recorded. In memory, and one for all pods: it survives them, and no power cut."""

    def __init__(self, rules: Rules, record: Record) -> None:
        super().__init__(Path(":memory:"), rules=rules)
        self._record = record

    def rows(self) -> dict[str, dict[str, Any]]:
        """Its runs by uid, with the versions of their steps."""

        def read(db: sqlite3.Connection) -> dict[str, dict[str, Any]]:
            found = {row["uid"]: {**row, "row_versions": set()} for row in db.execute("SELECT * FROM run")}
            for uid, version in db.execute("SELECT DISTINCT run, version FROM step"):
                found[uid]["row_versions"].add(version)
            return found

        return self._transaction(read, begin="BEGIN")

    def forget(self) -> None:
        """An empty copy is put in its place."""
        for statement in ("DELETE FROM step", "DELETE FROM run"):
            self._transaction(partial(_execute, statement))

    def claim(self, claim: Claim) -> ClaimResult:
        """Take a run."""
        result = super().claim(claim)
        self._record.claimed(claim, result)
        return result

    def commit(self, owner: Owner, batch: Batch, *, max_steps: int, now: Any) -> CommitResult:
        """Commit a batch."""
        result = super().commit(owner, batch, max_steps=max_steps, now=now)
        self._record.committed(owner, batch, result)
        return result


def _execute(statement: str, db: sqlite3.Connection) -> None:
    db.execute(statement)


class SimWorker(JournalWorker):
    """The journal's thread without a thread: jobs in order, each after a while."""

    def __init__(self, journal: SimJournal, rng: random.Random, longest_seconds: float) -> None:
        self._journal = journal
        self._rng, self._longest = rng, longest_seconds
        self._queue: deque[tuple[Callable[[Any], Any], Future[Any]]] = deque()
        self._free_at = 0.0
        self.is_dead = False

    def submit(self, job: Callable[[Any], Any]) -> "Future[Any]":
        """Queue a job."""
        loop = asyncio.get_running_loop()
        self._free_at = max(loop.time() + self._rng.random() * self._longest, self._free_at)
        future: Future[Any] = Future()
        self._queue.append((job, future))
        loop.call_at(self._free_at, self._next)
        return future

    def read(self, job: Callable[[Any], Any]) -> "Future[Any]":
        """Queue a job."""
        return self.submit(job)

    def commit(self, ask: Callable[[], Commit]) -> "Future[CommitResult]":
        """Queue a batch."""

        def job(journal: Any) -> Any:
            asked = ask()
            return journal.commit(asked.owner, asked.batch, max_steps=asked.max_steps, now=asked.now)

        return self.submit(job)

    def _next(self) -> None:
        job, future = self._queue.popleft()
        if not future.set_running_or_notify_cancel():
            return
        if self.is_dead:
            future.set_exception(ProcessDied())
        else:
            try:
                result = job(self._journal)
            except Exception as err:  # noqa: BLE001 - it belongs to who waits for the future
                future.set_exception(err)
                return
            asyncio.get_running_loop().call_later(self._rng.random() * self._longest, self._answer, future, result)

    def _answer(self, future: "Future[Any]", result: object) -> None:
        if self.is_dead:
            future.set_exception(ProcessDied())
        else:
            future.set_result(result)

    def close(self) -> None:
        """What is under way is answered no more."""
        self.is_dead = True


class SimDriver(PodDriver):
    """The production driver; once killed it carries nothing out."""

    is_dead = False

    def apply(self, actions: act.Actions) -> None:
        """Carry out actions."""
        if not self.is_dead:
            super().apply(actions)


class SimPod:
    """One process of a pod."""

    def __init__(
        self, plan: PodPlan, boot: int, agent: Agent, journal: SimJournal, rules: Rules, record: Record
    ) -> None:
        self.plan, self.record = plan, record
        record.booted(plan.uid)
        self.boot = f"boot-{plan.uid}-{boot}"
        self.is_alive = True
        self.exit_code: int | None = None
        self.is_reachable = True  # by the operator
        self.reachable_since = -math.inf  # it was never cut off
        self.drained = asyncio.Event()  # SIGTERM: nothing is listed any more
        self.on_exit: Callable[[], None] = lambda: None
        self._rules = rules
        self._tasks: set[asyncio.Task[Any]] = set()
        self._context = contextvars.copy_context()
        self._context.run(CLOCK.set, self.moment)
        self._context.run(OWNER.set, self)
        self.clock_ahead_seconds = plan.clock_ahead_seconds
        self._worker = SimWorker(journal, random.Random(self.boot), plan.journal_seconds)
        self._context.run(self._start, agent)

    def _start(self, agent: Agent) -> None:
        plan = self.plan
        self.machine = PodMachine(
            version=plan.version,
            pod_uid=plan.uid,
            boot=self.boot,
            capacity=plan.capacity,
            cancel_grace_seconds=plan.cancel_grace_seconds,
            rules=self._rules,
        )
        place = Place(plan.version, plan.uid, plan.park_after_seconds, plan.cancel_grace_seconds, self._rules)
        self._driver = SimDriver(self.machine, agent, self._worker, place, asyncio.get_running_loop())
        self.spawn(self._tick())

    def moment(self) -> Moment:
        """Both clocks of this machine."""
        at = asyncio.get_running_loop().time()
        return Moment(EPOCH + timedelta(seconds=at + self.clock_ahead_seconds), at)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run something inside this process."""
        return asyncio.get_running_loop().create_task(work, context=self._context.copy())

    def adopt(self, task: "asyncio.Task[Any]") -> None:
        """Know a task of this process."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tick(self) -> None:
        """As the pod's server does; time means nothing to a machine that holds no run."""
        while True:
            await asyncio.sleep(self.plan.tick_seconds)
            while self.machine.is_empty:
                await self._driver.wait_for_change(self.machine.n, IDLE_SECONDS)
            self._driver.apply(self.machine.tick(clock.now()))

    # Calls

    async def answer(self, meant_uid: str, leader: int | None, call: "Call") -> tuple[int, bytes]:
        """Serve one call, as the pod's server does; returns status and body."""
        if not self.is_alive:
            raise ProcessDied
        work = self.spawn(self._serve(meant_uid, leader, call))
        done, _ = await asyncio.wait({work})
        task = done.pop()
        if task.cancelled() or not self.is_alive:
            raise ProcessDied
        status, body = task.result()
        return int(status), b"" if status is HTTPStatus.NO_CONTENT else msgspec.json.encode(body)

    async def _serve(self, meant_uid: str, leader: int | None, call: "Call") -> tuple[HTTPStatus, Message]:
        machine, driver, uid = self.machine, self._driver, call.uid
        if meant_uid != machine.pod_uid and self._rules.pod_uid:
            wrong = machine.refusal("wrong_pod", "this address belongs to another pod", machine.pod_uid)
            return HTTPStatus.MISDIRECTED_REQUEST, wrong
        if leader is not None:
            stale = machine.check_leader(leader)
            if stale is not None:
                return HTTPStatus.CONFLICT, stale
        if call.verb == "state":
            if call.after > 0 and call.boot == machine.boot:
                await driver.wait_for_change(call.after, call.wait_seconds)
            return HTTPStatus.OK, machine.state(call.after, call.boot)
        if call.offer is not None:
            offer = call.offer
            self.record.offered(uid, offer)
            reply = await driver.call(lambda tag: machine.offer(tag, uid, offer, clock.now()))
        elif call.reason is not None:
            reason = call.reason
            reply = await driver.call(lambda tag: machine.delete(tag, uid, call.epoch, reason, clock.now()))
        else:
            reply = await driver.call(lambda tag: machine.ack(tag, uid, call.epoch))
        return reply.status, reply.body

    # Life

    def drain(self) -> None:
        """SIGTERM."""
        if self.is_alive and not self.machine.is_draining:
            self._context.run(self._driver.apply, self.machine.drain())
            self.spawn(self._wait_until_empty())

    async def _wait_until_empty(self) -> None:
        while self.machine.holds_listed:
            await self._driver.wait_for_change(self.machine.n, 1.0)
        await asyncio.sleep(0.05)  # the last answers go out
        self.drained.set()

    def kill(self, exit_code: int = 137) -> None:
        """SIGKILL: whatever is not committed is lost."""
        if not self.is_alive:
            return
        self.is_alive, self.exit_code = False, exit_code
        self._worker.close()
        self._driver.is_dead = True
        for task in list(self._tasks):
            task.cancel()
        self.on_exit()


@dataclass(frozen=True)
class Call:
    """One call of the run protocol."""

    verb: str  # state, offer, ack, end
    uid: str = ""
    epoch: int = 0
    offer: Any = None
    reason: Any = None
    after: int = 0
    boot: str = ""
    wait_seconds: float = 0


def _unset() -> Moment:
    at = asyncio.get_running_loop().time()
    return Moment(EPOCH + timedelta(seconds=at), at)


CLOCK: ContextVar[Callable[[], Moment]] = ContextVar("sim_clock", default=_unset)


def _now() -> Moment:
    return CLOCK.get()()


def task_factory(loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any) -> Any:
    """The pod's own task factory, which also notes whose process a task belongs to."""
    task = watch_tasks(loop, coro, kind=NumberedTask, **options)
    context: contextvars.Context | None = options.get("context")
    owner = OWNER.get() if context is None else context.get(OWNER)
    if owner is not None:
        owner.adopt(task)
    return task


def install(patch: pytest.MonkeyPatch) -> None:
    """Give the pods' code the simulator's clock and tasks."""
    patch.setattr(clock, "now", _now)
    factory: Any = task_factory
    asyncio.get_running_loop().set_task_factory(factory)
