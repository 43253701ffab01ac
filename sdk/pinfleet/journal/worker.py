"""The one thread of a pod that uses the journal.

SQLite writes one transaction at a time anyway; one thread keeps author code and the pod's server off the disk, and
makes a claim and the commits of the same run follow each other.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from pinfleet.errors import JournalRefused
from pinfleet.journal.interface import Journal

_T = TypeVar("_T")
_Job = tuple[Callable[[Journal], Any], "Future[Any]"]


class JournalWorker:
    """Runs jobs on the journal, in order, in a daemon thread.

    Args:
        journal: Used by this thread alone.
    """

    def __init__(self, journal: Journal) -> None:
        self.on_refused: Callable[[JournalRefused], None] = lambda _: None  # called in this thread
        self._journal = journal
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="pinfleet-journal", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[Journal], _T]) -> "Future[_T]":
        """Queue a job; the future holds what it returns or raises."""
        future: Future[_T] = Future()
        self._jobs.put((job, future))
        return future

    def close(self) -> None:
        """Finish what is queued, then close the journal."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, future = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job(self._journal))
            except BaseException as err:  # noqa: BLE001 - it belongs to who waits for the future
                future.set_exception(err)
                if isinstance(err, JournalRefused):
                    self.on_refused(err)
        self._journal.close()
