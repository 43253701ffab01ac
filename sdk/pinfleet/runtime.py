"""Executes one run in this process: replays what is recorded, records the rest, and stops when it must.

A run stops in one of these ways, and only the first counts: its code ends; it parks, because all its code is known
to wait; it is drained, cancelled, out of steps; or it is fenced, because the journal knows another owner. A stop
closes the journal handle first, then cancels the code; whatever the code still returns or raises is ignored. The
slot is held until its tasks and threads are gone. Everything here runs on the loop of the author's code.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pinfleet import children, clock, ending, stepping
from pinfleet.agent import Agent, StepSpec
from pinfleet.context import Ctx
from pinfleet.errors import Fenced, Incompatible, Parked, RunStopped
from pinfleet.identity import Identities, StepKey
from pinfleet.journal.handle import RunHandle
from pinfleet.journal.interface import Batch, CommitResult, End, History, StepRow, WaitRow
from pinfleet.position import Position
from pinfleet.reports import Assignment, Ended, Place, Reporter
from pinfleet.slot import Slot
from pinfleet.waiting import Waiting
from pinfleet.wire import EndReason, RunState, Wait

_LOG: Final = logging.getLogger("pinfleet.run")


@dataclass(frozen=True, slots=True)
class _Stop:
    """Why the runtime stops a run whose code has not ended."""

    kind: Literal["park", "drain", "cancel", "limit", "fenced"]
    reason: EndReason = "cancel"
    fence: CommitResult | None = None


@dataclass(eq=False)
class Execution:
    """One execution of one run."""

    agent: Agent
    assignment: Assignment
    handle: RunHandle
    history: History
    place: Place
    report: Reporter
    identities: Identities = field(default_factory=Identities)
    compensations: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    in_flight: int = 0  # steps that execute now

    def __post_init__(self) -> None:
        self.manifest = self.agent.manifest
        self.waiting = Waiting(self)
        self._unread = set(self.history.steps)
        self._attempts = 0
        self._draining = False
        self._stop: _Stop | None = None
        self._stop_asked = asyncio.Event()
        self._closed = asyncio.Event()
        self.slot = Slot(self.waiting)
        self.handle.on_fenced = lambda result: self._ask(_Stop("fenced", fence=result))
        self.waiting.fire(self.assignment.timers_fired if self.place.rules.timers_fired else ())

    # -- asked from outside --------------------------------------------------------------------------------------

    def cancel(self, reason: EndReason) -> None:
        """End the run; its code sees it at its next await."""
        self._ask(_Stop("cancel", reason))

    def drain(self) -> None:
        """Stop at the next step boundary."""
        self._draining = True
        self.settle()

    def fence(self) -> None:
        """Stop: the pod knows that another execution has the run."""
        self._ask(_Stop("fenced"))

    def fire(self, timers: tuple[str, ...]) -> None:
        """Fire the timers that an offer names."""
        if self.place.rules.timers_fired:
            self.waiting.fire(timers)

    # -- asked by steps and waits --------------------------------------------------------------------------------

    async def run_step(self, spec: StepSpec, args: tuple[object, ...], kwargs: dict[str, object]) -> Any:
        """Read or execute a step."""
        return await stepping.run_step(self, spec, args, kwargs)

    def recorded_step(self, key: StepKey) -> StepRow | None:
        """Return the step's row, if it has one."""
        self._unread.discard(key)
        return self.history.steps.get(key) if self.place.rules.replay else None

    def recorded_wait(self, key: StepKey) -> WaitRow | None:
        """Return the wait's row, if it has one."""
        return self.history.waits.get(key)

    @property
    def is_replaying(self) -> bool:
        """Whether recorded steps are left to read."""
        return bool(self._unread)

    @property
    def is_stopping(self) -> bool:
        """Whether the run is over here."""
        return self._stop is not None

    async def gate(self) -> None:
        """Return only while the run goes on: a drain or a stop is a boundary that nothing crosses."""
        if self._draining or self._stop is not None:
            self.settle()
            await self.hold()

    async def admit(self) -> None:
        """Let a step begin, if there is one left; ``leave`` must follow."""
        await self.gate()
        if self.handle.steps + self.in_flight >= self.handle.max_steps:
            self.out_of_steps()
            await self.hold()
        self.in_flight += 1

    def leave(self) -> None:
        """A step is over, however it ended."""
        self.in_flight -= 1
        self.settle()

    def out_of_steps(self) -> None:
        """The run may take no more steps."""
        self._ask(_Stop("limit"))

    async def hold(self) -> None:
        """Never return: known code is cancelled here, other code is told that the run stopped."""
        if not self.waiting.knows(asyncio.current_task()):
            await self._closed.wait()
            self.handle.require_open()
        await asyncio.Event().wait()

    def next_attempt(self) -> int:
        """Return a number that tells two executions under one epoch apart."""
        self._attempts += 1
        return self._attempts

    # -- life ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Execute until the run stops here and no code of it is left."""
        self._warn_if_changed()
        root = children.start(self, self._main(), Position(self, ""))
        asked = asyncio.ensure_future(self._stop_asked.wait())
        await asyncio.wait({root, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        try:
            error = _error_of(root) if root.done() else None
            if root.done() and (self._stop is None or not isinstance(error, RunStopped | asyncio.CancelledError)):
                await self._conclude(root, error)
            else:
                await self._halt(self._stop or _Stop("fenced"))
        except RunStopped:
            self._report_fenced()
        finally:
            await self._clear()

    async def _main(self) -> Any:
        """Call the author's main; SystemExit must not end the pod."""
        kind = self.agent.input_type
        arguments = [] if kind is None else [ending.read_input(self.assignment.input, kind)]
        return await children.contained(self.agent.entry()(Ctx(self), *arguments))

    async def _conclude(self, root: "asyncio.Task[Any]", error: BaseException | None) -> None:
        """Commit the end that the code reached."""
        if isinstance(error, Incompatible):
            self.handle.close(Fenced)
            self._report("incompatible", outcome=ending.failed(error).outcome)
            return
        end = ending.failed(error) if error is not None else ending.succeeded(root.result())
        await self._end(end)

    async def _halt(self, stop: _Stop) -> None:
        """Close the handle, commit what the stop asks for, report it."""
        _LOG.info("run stops", extra={"run": self.assignment.uid, "kind": stop.kind, "reason": stop.reason})
        if stop.kind == "park":
            waits = self.waiting.listed()
            self._close(Parked)
            await self.handle.commit(Batch(parks=True), closing=True)
            self._report("parked", waiting_for=waits)
        elif stop.kind == "drain":
            self._close(Parked)
            self._report("drained")
        elif stop.kind == "limit":
            await self._end(ending.limit("steps"))
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
        await self._end(ending.of_reason(reason))
        for compensation in reversed(self.compensations):
            try:
                async with asyncio.timeout(self.place.cancel_grace_seconds):
                    await compensation()
            except Exception:  # noqa: BLE001 - the others run all the same
                _LOG.exception("a compensation failed", extra={"run": self.assignment.uid})

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
        self.report.stopped(self.assignment.uid)

    # -- inside --------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Look, soon, whether the run now stops at a boundary or parks."""
        if self._stop is None:
            asyncio.get_running_loop().call_soon(self._settle)

    def _settle(self) -> None:
        if self._stop is not None:
            return
        if self.in_flight:
            self.progressed()
        elif self._draining:
            self._ask(_Stop("drain"))
        elif self.waiting.may_park(clock.now().wall, self.place.park_after_seconds):
            self._ask(_Stop("park"))
        else:
            self.progressed()

    def progressed(self) -> None:
        """Report steps and waits."""
        run = self.assignment
        self.report.progressed(run.uid, self.handle.epoch, self.handle.steps, self.waiting.listed())

    def _ask(self, stop: _Stop) -> None:
        if self._stop is None:
            self._stop = stop
            self._stop_asked.set()

    def _close(self, reason: type[RunStopped]) -> None:
        self.handle.close(reason)
        self._stop = self._stop or _Stop("fenced")
        self._closed.set()

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
        run = self.assignment
        ended = Ended(run.uid, self.handle.epoch, state, self.handle.steps, outcome, waiting_for, journal_epoch)
        self.report.ended(ended)

    def _warn_if_changed(self) -> None:
        rows = self.history.steps.values()
        if any(row.version == self.place.version and row.manifest != self.manifest for row in rows):
            _LOG.warning(
                "the code changed inside one version: is its image tag mutable?", extra={"run": self.assignment.uid}
            )


def _error_of(root: "asyncio.Task[Any]") -> BaseException | None:
    return asyncio.CancelledError("the code cancelled itself") if root.cancelled() else root.exception()
