"""Executes one run in this process: replays what is recorded, records the rest, and stops when it must.

A run stops in one of these ways, and only the first counts: its code ends; it parks, because all its code is known
to wait; it is drained, cancelled, out of steps; or it is fenced, because the journal knows another owner. A stop
closes the journal handle first, then cancels the code; whatever the code still returns or raises is ignored. The
slot is held until its tasks and threads are gone. Everything here runs on the loop of the author's code.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from pinfleet import calling, children, clock, ending, stepping
from pinfleet.admission import Admission, Stop
from pinfleet.agent import Agent
from pinfleet.bodies import Given
from pinfleet.context import Ctx
from pinfleet.declared import StepSpec, ToolSpec
from pinfleet.errors import Fenced, Incompatible, Parked, RunStopped
from pinfleet.identity import Identities
from pinfleet.inbox import Inbox
from pinfleet.journal.handle import RunHandle
from pinfleet.journal.interface import Batch, End, History
from pinfleet.position import Position
from pinfleet.quiet import Quiet
from pinfleet.record import Record
from pinfleet.reports import Assignment, Ended, News, Place, Progress, Reporter
from pinfleet.slot import Slot
from pinfleet.waiting import Waiting
from pinfleet.wire import EndReason, RunState, Wait

_LOG: Final = logging.getLogger("pinfleet.run")


class Execution(Admission):
    """One execution of one run.

    Args:
        agent: Whose code it executes.
        assignment: What the offer said.
        handle: The run's hold on the journal.
        history: What the journal holds.
        place: This pod.
        report: Hears what becomes of it.
    """

    def __init__(
        self,
        agent: Agent,
        assignment: Assignment,
        handle: RunHandle,
        history: History,
        place: Place,
        report: Reporter,
    ) -> None:
        super().__init__(handle)
        self.agent = agent
        self.assignment = assignment
        self.place = place
        self.report = report
        self.manifest = agent.manifest
        self.record = Record(history, place.rules, agent.renames)
        self.identities = Identities(self.record.counts)
        self.compensations: list[Callable[[], Awaitable[None]]] = []
        self.partial = assignment.partial
        self.waiting = Waiting(self)
        self.inbox = Inbox(self)
        self.slot = Slot(self.waiting)
        self.restarts = False  # a new segment was begun: the run goes on with another execution
        self.quiet = Quiet(self.progressed)
        self._attempts = 0
        self._emitted = 0
        self._arrivals: set[asyncio.Task[None]] = set()
        handle.on_fenced = lambda result: self._ask(Stop("fenced", fence=result))
        self._hear(self.assignment.news)

    # -- asked from outside --------------------------------------------------------------------------------------

    def cancel(self, reason: EndReason) -> None:
        """End the run; its code sees it at its next await."""
        self._ask(Stop("cancel", reason))

    def drain(self) -> None:
        """Stop at the next step boundary."""
        self._draining = True
        self.settle()

    def fence(self) -> None:
        """Stop: the pod knows that another execution has the run."""
        self._ask(Stop("fenced"))

    def update(self, news: News) -> None:
        """Take what another offer brings."""
        self._hear(news)
        task = asyncio.get_running_loop().create_task(self._deliver(news))
        self._arrivals.add(task)
        task.add_done_callback(self._arrivals.discard)

    def _hear(self, news: News) -> None:
        if self.place.rules.timers_fired:
            self.waiting.fire(news.timers_fired)
        if news.previous_gone:
            self._previous_gone.set()

    async def _deliver(self, news: News) -> None:
        try:
            await self.inbox.deliver(news.messages, news.decisions)
        except RunStopped:
            return  # it comes again with the next offer
        finally:
            self.settle()

    # -- asked by steps and waits --------------------------------------------------------------------------------

    async def run_step(self, spec: StepSpec, args: tuple[object, ...], kwargs: dict[str, object]) -> Any:
        """Read or execute a step or a tool."""
        given = Given(args, kwargs)
        if isinstance(spec, ToolSpec):
            return await calling.run_tool(self, spec, given)
        return await stepping.run_step(self, spec, given)

    async def restart(self, batch: Batch) -> None:
        """Begin a new segment with a batch; never returns."""
        self._ask(Stop("restart", batch=batch))
        await self.hold()

    def emit(self, value: object) -> None:
        """Tell who watches; numbered, so that a watcher drops what a stale owner still says."""
        self._emitted += 1
        self.place.trace("emit", self.assignment.uid, epoch=self.handle.epoch, seq=self._emitted, value=value)

    def knows(self, task: "asyncio.Task[object] | None") -> bool:
        """Whether the runtime cancels this task itself."""
        return self.waiting.knows(task)

    def next_attempt(self) -> int:
        """Return a number that tells two executions under one epoch apart."""
        self._attempts += 1
        return self._attempts

    # -- life ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Execute until the run stops here and no code of it is left."""
        if self.record.is_of_other_code(self.place.version, self.manifest):
            said = "the code changed inside one version: is its image tag mutable?"
            _LOG.warning(said, extra={"run": self.assignment.uid})
        try:
            await self.inbox.deliver(self.assignment.news.messages, self.assignment.news.decisions)
        except RunStopped:
            self._report_fenced()
            await self._clear()
            return
        root = children.start(self, self._main(), Position(self, ""))
        asked = asyncio.ensure_future(self._stop_asked.wait())
        await asyncio.wait({root, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        try:
            error = _error_of(root) if root.done() else None
            if root.done() and (self._stop is None or not isinstance(error, RunStopped | asyncio.CancelledError)):
                await self._conclude(root, error)
            else:
                await self._halt(self._stop or Stop("fenced"))
        except RunStopped:
            self._report_fenced()
        finally:
            await self._clear()

    async def refuse(self, stop: Stop) -> None:
        """Say why none of the run's code is executed here."""
        self._ask(stop)
        try:
            await self._halt(stop)
        except RunStopped:
            self._report_fenced()
        finally:
            await self._clear()

    async def _main(self) -> Any:
        """Call the author's main; SystemExit must not end the pod."""
        kind = self.agent.input_type
        text = self.record.earlier.input
        arguments = [] if kind is None else [ending.read_input(self.assignment.input if text is None else text, kind)]
        return await children.contained(self.agent.entry()(Ctx(self), *arguments))

    async def _conclude(self, root: "asyncio.Task[Any]", error: BaseException | None) -> None:
        """Commit the end that the code reached."""
        if isinstance(error, Incompatible):
            self._report_incompatible(error)
            return
        end = ending.failed(error) if error is not None else ending.succeeded(root.result())
        await self._end(end)

    async def _halt(self, stop: Stop) -> None:
        """Close the handle, commit what the stop asks for, report it."""
        _LOG.info("run stops", extra={"run": self.assignment.uid, "kind": stop.kind, "reason": stop.reason})
        if stop.kind == "park":
            await self.handle.commit(Batch(parks=True), closing=True)
            self._report("parked", waiting_for=stop.waits)
        elif stop.kind == "drain":
            self._close(Parked)
            self._report("drained")
        elif stop.kind == "limit":
            await self._end(ending.limit(stop.limit, self.partial))
        elif stop.kind == "incompatible" and stop.error is not None:
            self._report_incompatible(stop.error)
        elif stop.kind == "restart":
            self._close(Fenced)
            await self.handle.commit(stop.batch, closing=True)
            self.restarts = True
        elif stop.kind == "cancel":
            await self._cancelled(stop.reason)
        else:
            raise Fenced

    async def _cancelled(self, reason: EndReason) -> None:
        """Let the code stop, commit the end, then compensate."""
        self._close(Fenced)
        self._cancel_code()
        if self.waiting.tasks:
            await asyncio.wait(self.waiting.tasks)
        await self._end(ending.of_reason(reason, self.partial))
        await ending.compensate(self.compensations, self.place.cancel_grace_seconds, self.assignment.uid)

    async def _end(self, end: End) -> None:
        """Commit the end, then report it (rule 2)."""
        self._close(Fenced)
        if self.place.rules.commit_before_report:
            await self.handle.commit(Batch(end=end), closing=True)
        self._report(end.state, outcome=end.outcome)

    async def _clear(self) -> None:
        """Cancel what is left of the code and wait until it is gone."""
        self._close(Fenced)
        self._cancel_code()
        await self.slot.until_free(self.assignment.uid)
        if not self.restarts:
            self.report.stopped(self.assignment.uid)

    # -- inside --------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Look, soon, whether the run now stops at a boundary or parks."""
        self.quiet.disturb()
        if self._stop is None:
            asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        if self._stop is not None:
            return
        if self.in_flight or self._arrivals:
            self.progressed()
        elif self._draining:
            self._ask(Stop("drain"))
        elif self.waiting.may_park(clock.now().wall, self.place.park_after_seconds):
            self._ask(Stop("park", waits=self.waiting.listed()))
            self._close(Parked)  # now: what is recorded from here on would lie beside a run that sleeps (rule 9)
        else:
            self.progressed()

    def progressed(self) -> None:
        """Report steps and waits; the pod ignores what comes after the end."""
        run = self.assignment
        progress = Progress(self.handle.steps, self.waiting.listed(), self.inbox.seen, self.partial)
        self.report.progressed(run.uid, self.handle.epoch, progress)

    def _cancel_code(self) -> None:
        for task in self.waiting.tasks:
            task.cancel()

    def _report_fenced(self) -> None:
        fence = self._stop.fence if self._stop else None
        if fence is not None and fence.end is not None and fence.epoch == self.handle.epoch:
            return  # the pod itself ended the run, and lists that
        self._report("fenced", journal_epoch=fence.epoch if fence and self.place.rules.journal_epoch else None)

    def _report(
        self,
        state: RunState,
        *,
        outcome: bytes | None = None,
        waiting_for: tuple[Wait, ...] = (),
        journal_epoch: int | None = None,
    ) -> None:
        run, here = self.assignment, self.handle
        self.report.ended(
            Ended(run.uid, here.epoch, state, here.steps, outcome, waiting_for, journal_epoch, self.inbox.seen)
        )

    def _report_incompatible(self, error: Incompatible) -> None:
        self._close(Fenced)
        self._report("incompatible", outcome=ending.failed(error).outcome)


def _error_of(root: "asyncio.Task[Any]") -> BaseException | None:
    return asyncio.CancelledError("the code cancelled itself") if root.cancelled() else root.exception()
