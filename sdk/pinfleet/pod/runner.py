"""Executes the runs that the pod holds, on the loop of the author's code.

Every method is called on that loop. Commands for a run that is still being read from the journal wait for it.
"""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Final

from pinfleet.admission import Stop
from pinfleet.agent import Agent
from pinfleet.errors import JournalError, JournalRefused
from pinfleet.journal.handle import RunHandle
from pinfleet.journal.interface import History
from pinfleet.journal.worker import JournalWorker
from pinfleet.moving import moved
from pinfleet.position import POSITION
from pinfleet.reports import Assignment, Ended, Place, Reporter
from pinfleet.runtime import Execution

_LOG: Final = logging.getLogger("pinfleet.run")
_AGAIN_SECONDS: Final = 0.5


class Runner:
    """The executions of one pod.

    Args:
        agent: What they execute.
        worker: The journal's thread.
        place: This pod.
        report: Hears what becomes of them.
    """

    def __init__(self, agent: Agent, worker: JournalWorker, place: Place, report: Reporter) -> None:
        self._agent = agent
        self._worker = worker
        self._place = place
        self._report = report
        self._executions: dict[str, Execution] = {}
        self._early: dict[str, list[Callable[[Execution], None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, assignment: Assignment, handle: RunHandle) -> None:
        """Execute a run that was claimed."""
        self._early[assignment.uid] = []
        task = asyncio.get_running_loop().create_task(self._execute(assignment, handle))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def executions(self) -> tuple[Execution, ...]:
        """Those under way."""
        return tuple(self._executions.values())

    def tell(self, uid: str, command: Callable[[Execution], None]) -> None:
        """Give a command to a run's execution; one that is over takes none."""
        execution = self._executions.get(uid)
        if execution is not None and not execution.restarts:
            command(execution)
        elif uid in self._early:
            self._early[uid].append(command)

    async def _execute(self, assignment: Assignment, handle: RunHandle) -> None:
        uid = assignment.uid
        try:
            while True:
                loaded = await self._load(uid)
                found = await moved(self._agent, assignment, handle, loaded, self._place.version)
                stop, history = (found, loaded) if isinstance(found, Stop) else (None, found)
                execution = Execution(self._agent, assignment, handle, history, self._place, self._report)
                self._executions[uid] = execution
                early, self._early[uid] = self._early[uid], []
                for command in early:
                    command(execution)
                _LOG.info("run starts", extra={"run": uid, "epoch": handle.epoch, "recorded": len(history.steps)})
                await (execution.run() if stop is None else execution.refuse(stop))
                if not execution.restarts:
                    return
                handle.reopen()
                assignment = replace(assignment, partial=execution.partial)
        except Exception as err:  # noqa: BLE001 - a mistake of ours costs one run's execution, not the pod
            extra = {"run": uid, "epoch": handle.epoch, "type": type(err).__name__, "cause": str(err)}
            _LOG.exception("the runtime failed; the run is given back", extra=extra)
            self._report.ended(Ended(uid, handle.epoch, "fenced", handle.steps))
            self._report.stopped(uid)
        finally:
            self._executions.pop(uid, None)
            self._early.pop(uid, None)

    async def _load(self, uid: str) -> History:
        while True:
            try:
                return await asyncio.wrap_future(self._worker.read(lambda journal: journal.load(uid)))
            except JournalRefused:
                raise
            except JournalError as err:
                _LOG.warning("journal unavailable", extra={"run": uid, "cause": str(err)})
                await asyncio.sleep(_AGAIN_SECONDS)


def watch_tasks(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[Any, Any, Any],
    *,
    kind: "type[asyncio.Task[Any]]" = asyncio.Task,
    **options: Any,
) -> "asyncio.Task[Any]":
    """Task factory: a task that a run's code makes is known to its execution, which waits for it before it is gone."""
    task = kind(coro, loop=loop, **options)
    context: contextvars.Context | None = options.get("context")
    position = POSITION.get() if context is None else context.get(POSITION)
    if position is not None:
        position.execution.slot.task_made(task)
    return task
