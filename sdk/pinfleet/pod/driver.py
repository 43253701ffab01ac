"""Carries out what the pod's machine asks for.

It lives on the server's loop. The journal's thread and the author's loop answer by ``call_soon_threadsafe``, so that
the machine is used by one thread and sees what happened in order.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, assert_never

from pinfleet import clock
from pinfleet.agent import Agent
from pinfleet.errors import JournalError
from pinfleet.journal import interface as journal
from pinfleet.journal.handle import RunHandle
from pinfleet.journal.worker import JournalWorker
from pinfleet.pod import actions as act
from pinfleet.pod.machine import PodMachine
from pinfleet.pod.runner import Runner
from pinfleet.reports import Assignment, Ended, Place, Progress, news_of
from pinfleet.runtime import Execution
from pinfleet.wire import Offer

_LOG: Final = logging.getLogger("pinfleet.pod")


class PodDriver:
    """The machine, with the world around it.

    Args:
        machine: Decides.
        agent: Whose code is executed.
        worker: The journal's thread.
        place: This pod.
        author_loop: Where the code runs.
    """

    def __init__(
        self,
        machine: PodMachine,
        agent: Agent,
        worker: JournalWorker,
        place: Place,
        author_loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.machine = machine
        self._agent = agent
        self._worker = worker
        self._place = place
        self._author_loop = author_loop
        self._loop = asyncio.get_running_loop()
        self._runner = Runner(agent, worker, place, self)
        self._handles: dict[str, RunHandle] = {}
        self._replies: dict[act.Request, asyncio.Future[act.Reply]] = {}
        self._requests = 0
        self._changed = asyncio.Event()

    @property
    def executions(self) -> tuple[Execution, ...]:
        """What the author's loop executes now; for code on that loop."""
        return self._runner.executions

    # -- for the server ------------------------------------------------------------------------------------------

    async def call(self, give: Callable[[act.Request], act.Actions]) -> act.Reply:
        """Give the machine a call and wait for its reply."""
        self._requests += 1
        request = self._requests
        reply: asyncio.Future[act.Reply] = self._loop.create_future()
        self._replies[request] = reply
        try:
            self.apply(give(request))
            return await reply
        finally:
            self._replies.pop(request, None)

    def apply(self, actions: act.Actions) -> None:
        """Carry out actions, in order."""
        for action in actions:
            self._apply(action)

    async def wait_for_change(self, after: int, seconds: float) -> None:
        """Return once the listing has changes after a number, or the time is over."""
        if self.machine.n > after:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    def wake(self) -> None:
        """Answer the long polls."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # -- Reporter, called on the author's loop -------------------------------------------------------------------

    def progressed(self, uid: str, epoch: int, progress: Progress) -> None:
        """Pass on that more steps are committed, the waits changed, or something was received."""
        self._tell(lambda: self.machine.progressed(uid, epoch, progress))

    def ended(self, ended: Ended) -> None:
        """Pass on that a run is over here."""
        _LOG.info("run ended here", extra={"run": ended.uid, "epoch": ended.epoch, "state": ended.state})
        self._tell(lambda: self.machine.ended(ended))

    def stopped(self, uid: str) -> None:
        """Pass on that no code of a run is left."""

        def forget() -> act.Actions:
            self._handles.pop(uid, None)
            return self.machine.stopped(uid)

        self._tell(forget)

    def _tell(self, give: Callable[[], act.Actions]) -> None:
        try:
            self._loop.call_soon_threadsafe(lambda: self.apply(give()))
        except RuntimeError:  # the server is closed: the process ends
            return

    # -- actions -------------------------------------------------------------------------------------------------

    def _apply(self, action: act.Action) -> None:  # noqa: C901 - one case for each action
        match action:
            case act.Reply():
                self._reply(action)
            case act.Claim():
                self._claim(action)
            case act.Start():
                self._start(action)
            case act.Adopt():
                self._adopt(action.uid, action.offer)
            case act.Update():
                self._command(action.uid, lambda run: run.update(news_of(action.offer)))
            case act.Cancel():
                self._command(action.uid, lambda run: run.cancel(action.reason))
            case act.Drain():
                self._command(action.uid, lambda run: run.drain())
            case act.Fence():
                self._command(action.uid, lambda run: run.fence())
            case act.CommitEnd():
                self._commit_end(action)
            case act.Wake():
                self.wake()
            case _:
                assert_never(action)

    def _reply(self, action: act.Reply) -> None:
        waiting = self._replies.get(action.request)
        if waiting is not None and not waiting.done():
            waiting.set_result(action)

    def _claim(self, action: act.Claim) -> None:
        offer, handle = action.offer, self._handles.get(action.uid)
        claim = journal.Claim(
            run=action.uid, name=offer.name, epoch=offer.epoch, boot=self.machine.boot, pod=self.machine.pod_uid,
            version=self.machine.version, schema=self._agent.schema, now=clock.now().wall,
        )  # fmt: skip
        work = self._worker.submit(lambda opened: handle.claim(opened, claim) if handle else opened.claim(claim))

        def answered(result: journal.ClaimResult | None) -> act.Actions:
            return self.machine.claimed(action.uid, offer.epoch, result, clock.now())

        self._when_done(work, answered)

    def _start(self, action: act.Start) -> None:
        offer = action.offer
        handle = RunHandle(
            self._worker, run=action.uid, epoch=offer.epoch, steps=action.steps, max_steps=offer.limits.max_steps,
            tokens=action.tokens, max_tokens=offer.limits.max_tokens,
        )  # fmt: skip
        self._handles[action.uid] = handle
        run = Assignment(
            uid=action.uid, name=offer.name, epoch=offer.epoch, input=bytes(offer.input),
            max_steps=offer.limits.max_steps, requester=offer.requester, partial=action.partial, news=news_of(offer),
        )  # fmt: skip
        self._author_loop.call_soon_threadsafe(self._runner.start, run, handle)

    def _adopt(self, uid: str, offer: Offer) -> None:
        handle = self._handles[uid]
        handle.max_steps, handle.max_tokens = offer.limits.max_steps, offer.limits.max_tokens
        self._command(uid, lambda run: run.update(news_of(offer)))

    def _command(self, uid: str, command: Callable[[Execution], None]) -> None:
        self._author_loop.call_soon_threadsafe(self._runner.tell, uid, command)

    def _commit_end(self, action: act.CommitEnd) -> None:
        owner = journal.Owner(action.uid, action.epoch)
        batch, now = journal.Batch(end=action.end), clock.now().wall
        work = self._worker.submit(lambda opened: opened.commit(owner, batch, max_steps=0, now=now))

        def answered(result: journal.CommitResult | None) -> act.Actions:
            return self.machine.end_committed(action.uid, action.epoch, result, clock.now())

        self._when_done(work, answered)

    def _when_done(self, work: "Future[Any]", give: Callable[[Any], act.Actions]) -> None:
        def done(finished: "Future[Any]") -> None:
            error = finished.exception()
            if error is not None:
                level = logging.WARNING if isinstance(error, JournalError) else logging.ERROR
                _LOG.log(level, "journal unavailable", extra={"type": type(error).__name__, "cause": str(error)})
            result = None if error is not None else finished.result()
            self._tell(lambda: give(result))

        work.add_done_callback(done)
