"""What keeps a run's slot: the tasks and threads that its code made and that have not ended."""

import asyncio
import contextlib
import logging
import threading
from typing import Any, Final

from pinfleet.waiting import Waiting

_LOG: Final = logging.getLogger("pinfleet.run")
_LEAVING_SECONDS: Final = 1.0  # what cancelled code gets before it is named in a warning


class Slot:
    """Counts what is left of a run's code.

    Args:
        waiting: Knows the root and the children.
    """

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting
        self._threads: set[threading.Thread] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()

    def thread_began(self, thread: threading.Thread) -> None:
        """A sync step runs in this thread."""
        self._threads.add(thread)

    def thread_ended(self, thread: threading.Thread) -> None:
        """Its function has returned."""
        self._threads.discard(thread)
        self.check_idle()

    def task_made(self, task: "asyncio.Task[Any]") -> None:
        """The author's code made a task."""
        self._tasks.add(task)
        task.add_done_callback(self._task_done)

    def _task_done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        self.check_idle()

    def check_idle(self) -> None:
        """Note whether code of this run is left."""
        if not self._tasks and not self._threads and not self._waiting.tasks:
            self._idle.set()
        else:
            self._idle.clear()

    def cancel(self) -> None:
        """End the tasks that the author's code made and left; only who executes nothing may do that."""
        for task in self._tasks:
            task.cancel()

    async def until_free(self, run: str) -> None:
        """Wait until no code is left; name what stays longer than a moment."""
        self.check_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVING_SECONDS):
                await self._idle.wait()
        left = sorted({task.get_name() for task in self._tasks} | {thread.name for thread in self._threads})
        if left:
            _LOG.warning("code of an ended run holds its slot", extra={"run": run, "left": left})
        await self._idle.wait()
