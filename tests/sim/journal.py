"""The production journal on the simulator's loop: in memory, recorded, its thread replaced by timers."""

import asyncio
import random
import sqlite3
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from pinfleet.journal.interface import Batch, Claim, ClaimResult, Commit, CommitResult, Owner
from pinfleet.journal.sqlite import SqliteJournal
from pinfleet.journal.worker import JournalWorker
from pinfleet.rules import Rules
from tests.sim.record import Record


class ProcessDied(Exception):
    """The process that would have to answer is gone."""


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
