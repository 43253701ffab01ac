"""One run's hold on the journal: what a claim gave, until the run stops here.

All commits of a run's code go through it. Once closed it raises Parked or Fenced for ever, so code that outlives its
run changes nothing. A claim of a higher epoch for the same live code goes through it too, in the journal's own thread,
so that no commit falls between the claim and the new epoch.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Final

from pinfleet import clock
from pinfleet.errors import Fenced, Incompatible, JournalError, JournalRefused, RunStopped
from pinfleet.journal.interface import (
    Batch,
    Claim,
    ClaimResult,
    Commit,
    CommitResult,
    Journal,
    Migration,
    Owner,
    StepRow,
    WaitRow,
)
from pinfleet.journal.worker import JournalWorker

_LOG: Final = logging.getLogger("pinfleet.journal")
_LONGEST_PAUSE_SECONDS: Final = 5.0


class StepsUsedUp(Exception):
    """The batch would pass maxSteps."""


class RunHandle:
    """The journal for one execution of one run.

    Args:
        worker: The pod's journal thread.
        run: Uid of the run.
        epoch: What was claimed.
        steps: The journal's count at the claim.
        max_steps: Total over all epochs.
        tokens: The journal's count at the claim.
        max_tokens: Total over all epochs; None: no bound.
    """

    def __init__(
        self,
        worker: JournalWorker,
        *,
        run: str,
        epoch: int,
        steps: int,
        max_steps: int,
        tokens: int = 0,
        max_tokens: int | None = None,
    ) -> None:
        self._worker = worker
        self._closed: type[RunStopped] | None = None
        self._kept = Batch()
        self.run = run
        self.epoch = epoch
        self.steps = steps
        self.tokens = tokens
        self.max_steps = max_steps
        self.max_tokens = max_tokens
        self.committing = 0  # commits under way
        self.on_fenced: Callable[[CommitResult], None] = lambda _: None

    @property
    def is_closed(self) -> bool:
        """Whether this execution of the run is over."""
        return self._closed is not None

    def close(self, reason: type[RunStopped]) -> None:
        """Refuse everything from now on; the first reason stays."""
        self._closed = self._closed or reason

    def reopen(self) -> None:
        """Serve a new segment of the run, once no code of the one before is left."""
        self._closed, self._kept = None, Batch()

    def require_open(self) -> None:
        """Raise Parked or Fenced once closed."""
        if self._closed is not None:
            raise self._closed(f"run {self.run} at epoch {self.epoch} is no longer executed here")

    def later(self, *, step: StepRow | None = None, wait: WaitRow | None = None) -> None:
        """Keep a row for the next commit; nothing durable may depend on it before that."""
        self.later_all(Batch(steps=(step,) if step else (), waits=(wait,) if wait else ()))

    def later_all(self, rows: Batch) -> None:
        """Keep a batch's rows for the next commit, as ``later`` keeps one."""
        self.require_open()
        self._kept = rows.after(self._kept)

    async def flush(self) -> None:
        """Commit the rows that were kept, if there are any."""
        if self._kept != Batch():
            await self.commit(Batch())

    async def commit(self, batch: Batch, *, closing: bool = False) -> None:
        """Commit a batch, with the rows that were kept before it; asks again until the database answers.

        A cancelled caller still waits for the answer: what was executed is recorded. A database that refuses for good
        ends this execution as a newer owner would: no code may take that for an error of its own and go on.

        Args:
            batch: What to commit.
            closing: True lets the runtime commit the end or park of a handle that it has closed for the code.

        Raises:
            Fenced: The journal knows another owner or an end, or refuses; ``on_fenced`` was told.
            StepsUsedUp: maxSteps would be passed.
            Incompatible: A row of this identity is there from another execution.
        """
        if not closing:
            self.require_open()
        whole, self._kept = batch.after(self._kept), Batch()
        work = asyncio.ensure_future(self._ask(whole))
        self.committing += 1
        try:
            result = await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait({work})
            self._judge(work.result(), whole)
            raise
        finally:
            self.committing -= 1
        self._judge(result, whole)

    def claim(self, journal: Journal, claim: Claim) -> ClaimResult:
        """Claim a higher epoch for the live code; runs in the journal's thread.

        Args:
            journal: The worker's journal.
            claim: Its ``held`` is set here.
        """
        held = None if self._closed else self.epoch
        result = journal.claim(replace(claim, held=held))
        if result.status == "claimed" and result.continues:
            self.epoch = result.epoch
        return result

    async def migrate(self, migration: Migration) -> CommitResult:
        """Take the run to another schema; asks again until the database answers."""

        def migrate(journal: Journal) -> CommitResult:
            return journal.migrate(Owner(self.run, self.epoch), migration)

        return await self._answered(lambda: self._worker.submit(migrate))

    async def _ask(self, batch: Batch) -> CommitResult:
        return await self._answered(lambda: self._worker.commit(lambda: self._asked(batch)))

    async def _answered(self, ask: Callable[[], "Future[CommitResult]"]) -> CommitResult:
        pause = 0.05
        while True:
            try:
                return await asyncio.wrap_future(ask())
            except JournalRefused as err:
                _LOG.critical("journal refused; this execution is over", extra={"run": self.run, "cause": str(err)})
                return CommitResult("fenced", self.epoch, self.steps)
            except JournalError as err:
                _LOG.warning("journal unavailable", extra={"run": self.run, "cause": str(err), "again_seconds": pause})
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _asked(self, batch: Batch) -> Commit:
        """Return what is asked for; called in the journal's thread, where ``claim`` raises the epoch."""
        return Commit(Owner(self.run, self.epoch), batch, self.max_steps, clock.now().wall)

    def _judge(self, result: CommitResult, batch: Batch) -> None:
        if result.status == "committed":
            self.steps = max(self.steps, result.steps)
            self.tokens = max(self.tokens, result.tokens)
            return
        if result.status == "limit":
            raise StepsUsedUp
        if result.status == "taken":
            keys = ", ".join(str(step.key) for step in batch.steps)
            raise Incompatible(f"run {self.run}: {keys} was recorded by another execution at this epoch")
        self.close(Fenced)
        self.on_fenced(result)
        raise Fenced(f"run {self.run}: the journal is at epoch {result.epoch}, this execution at {self.epoch}")
