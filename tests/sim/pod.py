"""An agent pod: the production driver, machine, runtime and journal, on the simulator's loop and clock."""

import asyncio
import contextvars
import math
import random
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import msgspec
import pytest

from pinfleet import clock
from pinfleet.agent import Agent
from pinfleet.clock import Moment
from pinfleet.pod import actions as act
from pinfleet.pod.driver import PodDriver
from pinfleet.pod.machine import PodMachine
from pinfleet.pod.runner import watch_tasks
from pinfleet.reports import Place
from pinfleet.rules import Rules
from pinfleet.wire import Message
from tests.sim.journal import ProcessDied, SimJournal, SimWorker
from tests.sim.loop import EPOCH, NumberedTask
from tests.sim.record import Record

IDLE_SECONDS = 60.0
OWNER: ContextVar["SimPod | None"] = ContextVar("sim_pod", default=None)


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
