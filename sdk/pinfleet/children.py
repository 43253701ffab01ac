"""The tasks of a run that the runtime knows: its root, and the children of gather and map."""

import asyncio
import contextvars
from collections import deque
from collections.abc import Awaitable, Coroutine, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from pinfleet.errors import NestedStep, StepFailed
from pinfleet.identity import child_scope
from pinfleet.position import POSITION, Position

if TYPE_CHECKING:
    from pinfleet.runtime import Execution

_T = TypeVar("_T")


async def gather(
    run: "Execution", position: Position, kind: str, calls: Sequence[Awaitable[Any]], *, limit: int | None
) -> list[Any]:
    """Run calls as known tasks, each in its own scope; see ``Ctx.gather``."""
    if position.step is not None:
        raise NestedStep(f"ctx.{kind} inside step {position.step}")
    n = run.identities.next(position.scope, f"ctx.{kind}").n  # first: a replay that is held here counts it, too
    try:
        await run.boundary(position)
    except asyncio.CancelledError:
        for call in calls:
            _close(call)
        raise
    room = _Room(run, limit or max(1, len(calls)))
    scope = child_scope(position.scope, f"{kind}{n}")
    tasks = [
        _child(run, call, replace(position, scope=child_scope(scope, str(i))), room) for i, call in enumerate(calls)
    ]
    if not tasks:
        return []
    try:
        with run.waiting.blocked(lambda: all(task.done() for task in tasks)):
            await asyncio.wait(tasks)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        raise
    run.identities.leave(scope)
    errors = [task.exception() for task in tasks if not task.cancelled()]
    failed = next((error for error in errors if error is not None), None)
    if failed is not None:
        raise failed
    return [task.result() for task in tasks]


def _child(run: "Execution", call: Awaitable[Any], position: Position, room: "_Room") -> "asyncio.Task[Any]":
    async def body() -> Any:
        await room.enter()
        try:
            return await contained(call)
        finally:
            room.leave()

    task = start(run, body(), position)
    task.add_done_callback(lambda _: _close(call))  # one that was cancelled before its turn never began
    return task


class _Room:
    """Room for so many children at once; who waits for its turn waits for siblings, which are known.

    Args:
        run: Whose children they are.
        limit: Most at once.
    """

    def __init__(self, run: "Execution", limit: int) -> None:
        self._run = run
        self._free = limit
        self._turns: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Wait for a turn; ``leave`` must follow."""
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            with self._run.waiting.blocked(turn.done):
                await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave()
            raise

    def leave(self) -> None:
        """Give the turn to the next one."""
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


def _close(call: Awaitable[Any]) -> None:
    if asyncio.iscoroutine(call):
        call.close()


def start(run: "Execution", body: Coroutine[Any, Any, Any], position: Position) -> "asyncio.Task[Any]":
    """Start known code as a task at a position."""
    context = contextvars.copy_context()
    context.run(POSITION.set, position)
    task = asyncio.get_running_loop().create_task(body, context=context, name=f"{run.assignment.name}{position.scope}")
    run.waiting.add(task)
    return task


async def contained(call: Awaitable[_T]) -> _T:
    """Await the author's code; what would end the whole process ends this run alone."""
    try:
        return await call
    except (SystemExit, KeyboardInterrupt) as err:
        raise StepFailed(type(err).__name__, str(err)) from err
