"""The threads of a pod that use the journal: one writes, one reads what a run did.

One writer keeps author code and the pod's server off the disk, and makes a claim and the commits of the same run
follow each other. It commits what is ready together: while one transaction is under way, the next one gathers. Reading
a long history has a connection of its own, so that it holds no commit up.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pinfleet.errors import JournalError, JournalRefused
from pinfleet.journal.interface import Commit, CommitResult, Journal

_T = TypeVar("_T")

GROUP_LIMIT: Final = 128
"""Most batches of one transaction."""

IDLE_SECONDS: Final = 30.0
"""After so long without work a thread lets its connection go."""


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[Journal], Any]
    future: "Future[Any]"


@dataclass(frozen=True, slots=True)
class _Ask:
    ask: Callable[[], Commit]
    future: "Future[CommitResult]"


class JournalWorker:
    """Runs jobs on the journal, in order, in daemon threads.

    Args:
        journal: Used by the writing thread alone.
        reader: The same database, used by the reading thread alone; None: ``journal`` reads too.
    """

    def __init__(self, journal: Journal, reader: Journal | None = None) -> None:
        self.on_refused: Callable[[JournalRefused], None] = lambda _: None  # called in the thread that met it
        self._writer = _Lane(journal, self._refused, "pinfleet-journal")
        self._reader = _Lane(reader, self._refused, "pinfleet-journal-read") if reader else self._writer

    def submit(self, job: Callable[[Journal], _T]) -> "Future[_T]":
        """Queue a job; the future holds what it returns or raises."""
        return self._writer.submit(job)

    def read(self, job: Callable[[Journal], _T]) -> "Future[_T]":
        """Queue a job that only reads; it is not ordered with the others."""
        return self._reader.submit(job)

    def commit(self, ask: Callable[[], Commit]) -> "Future[CommitResult]":
        """Queue a batch, which is asked for once its turn has come: its epoch is then the newest that was claimed."""
        future: Future[CommitResult] = Future()
        self._writer.put(_Ask(ask, future))
        return future

    def close(self) -> None:
        """Finish what is queued, then close the journal."""
        for lane in {self._writer, self._reader}:
            lane.close()

    def _refused(self, err: JournalRefused) -> None:
        self.on_refused(err)


class _Lane:
    """One thread and its journal."""

    def __init__(self, journal: Journal, on_refused: Callable[[JournalRefused], None], name: str) -> None:
        self._journal = journal
        self._on_refused = on_refused
        self._queue: queue.SimpleQueue[_Job | _Ask | None] = queue.SimpleQueue()
        self._put_back: list[_Job | None] = []  # what ended a group, at most one
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, item: _Job | _Ask | None) -> None:
        """Queue an item; None ends the thread."""
        self._queue.put(item)

    def submit(self, job: Callable[[Journal], _T]) -> "Future[_T]":
        """Queue a job."""
        future: Future[_T] = Future()
        self.put(_Job(job, future))
        return future

    def close(self) -> None:
        """Finish what is queued."""
        self.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (item := self._next()) is not None:
            if isinstance(item, _Ask):
                self._commit(self._gather(item))
            elif item.future.set_running_or_notify_cancel():
                try:
                    item.future.set_result(item.work(self._journal))
                except BaseException as err:  # noqa: BLE001 - it belongs to who waits for the future
                    self._fail([item.future], err)
        self._journal.close()

    def _next(self) -> _Job | _Ask | None:
        if self._put_back:
            return self._put_back.pop()
        while True:
            try:
                return self._queue.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                self._journal.close()

    def _gather(self, first: _Ask) -> list[_Ask]:
        """Return the batches that are ready, up to the next job."""
        group = [first]
        while len(group) < GROUP_LIMIT:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if not isinstance(item, _Ask):
                self._put_back.append(item)
                break
            group.append(item)
        return [item for item in group if item.future.set_running_or_notify_cancel()]

    def _commit(self, group: list[_Ask]) -> None:
        try:
            commits = [item.ask() for item in group]
            if len(commits) == 1:
                (only,) = commits
                results = [self._journal.commit(only.owner, only.batch, max_steps=only.max_steps, now=only.now)]
            else:
                results = self._journal.commit_all(commits)
        except Exception as err:  # noqa: BLE001 - it belongs to who waits for the futures
            if len(group) == 1 or isinstance(err, JournalError):
                self._fail([item.future for item in group], err)
                return
            for item in group:  # one row that the database cannot hold fails its own run alone
                self._commit([item])
            return
        for item, result in zip(group, results, strict=True):
            item.future.set_result(result)

    def _fail(self, futures: "list[Future[Any]]", err: BaseException) -> None:
        for future in futures:
            future.set_exception(err)
        if isinstance(err, JournalRefused):
            self._on_refused(err)
