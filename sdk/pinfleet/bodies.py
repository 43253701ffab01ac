"""Runs the author's functions: in a task or a thread, again after a failure that may pass, with the failure as a value.

What live code gets is decoded from the text that is recorded, so that live and replay are the same.
"""

import asyncio
import contextvars
import json
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pinfleet import values
from pinfleet.declared import StepSpec
from pinfleet.errors import (
    AmbiguousStep,
    Incompatible,
    NestedStep,
    NotStorable,
    OutsideRun,
    RunStopped,
    StepFailed,
    ToolFailed,
    describe,
)
from pinfleet.journal.interface import StepRow, StepStatus
from pinfleet.position import POSITION, Position

if TYPE_CHECKING:
    from pinfleet.runtime import Execution

_T = TypeVar("_T")
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 30.0
NOT_RECORDED: Final = (RunStopped, GeneratorExit, NestedStep, OutsideRun, AmbiguousStep)
"""Stops of the run, and mistakes in the code around steps: raised to the author, recorded as nothing."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a call was given."""

    args: tuple[object, ...]
    kwargs: Mapping[str, object]

    def after(self, first: object) -> "Given":
        """Return it with one more argument in front."""
        return Given((first, *self.args), self.kwargs)


@dataclass(frozen=True, slots=True)
class Done:
    """What a function gave."""

    status: StepStatus
    text: bytes  # JSON of the value, or of the failure
    value: Any = None
    error: Exception | None = None
    cause: BaseException | None = None

    def give(self) -> Any:
        """Return the value, or raise the failure."""
        if self.error is not None:
            raise self.error from self.cause
        return self.value


async def call(run: "Execution", spec: StepSpec, position: Position, given: Given) -> Any:
    """Call the function at its position; return or raise what it does."""
    token = POSITION.set(position)
    try:
        if spec.is_async:
            return await spec.function(*given.args, **given.kwargs)
        return await _in_thread(run, spec, given)
    finally:
        POSITION.reset(token)


async def retried(run: "Execution", spec: StepSpec, once: Callable[[], Awaitable[_T]]) -> _T:
    """Do something again, with backoff, while it fails with what the declaration says may pass."""
    if not spec.retries:
        return await once()
    import tenacity  # noqa: PLC0415 - loaded by those who use it

    retrying = tenacity.AsyncRetrying(
        stop=tenacity.stop_after_attempt(spec.retries + 1),
        wait=tenacity.wait_exponential_jitter(multiplier=_FIRST_PAUSE_SECONDS, max=_LONGEST_PAUSE_SECONDS),
        retry=tenacity.retry_if_exception_type(spec.retry_on),
        sleep=run.place.pause,
        reraise=True,
    )

    async def attempt() -> _T:  # it looks whether it is given a coroutine function
        return await once()

    value: _T = await retrying(attempt)
    return value


def succeeded(spec: StepSpec, value: object) -> Done:
    """Return what a function's value is recorded as; one that cannot be recorded is a failure."""
    try:
        text = values.encode(value, spec.name)
        return Done("ok", text, values.decode(text, spec.returns, spec.name))
    except NotStorable as err:
        return failed(spec, err)


def failed(spec: StepSpec, err: BaseException) -> Done:
    """Return what a function's error is recorded as."""
    kind, message = describe(err)
    failure = {"type": kind, "message": message}
    if isinstance(err, NotStorable):
        failure |= {"step": err.step, "field": err.field, "why": err.why}
    return Done("failed", values.encode(failure, "failure"), error=_failure(spec, failure), cause=err)


async def replayed(run: "Execution", spec: StepSpec, row: StepRow) -> Any:
    """Return the recorded value, or raise the recorded failure; a value of another type is of other code."""
    if row.status != "ok":
        raise _failure(spec, json.loads(row.result))
    try:
        return values.decode(row.result, spec.returns, spec.name)
    except NotStorable as err:
        text = f"run {run.assignment.name} recorded {row.kind} {row.key} on {row.version}; its result {err.why}"
        await run.incompatible(Incompatible(f"{text}. It stays on {row.version}; to move it add @agent.migration"))


def _failure(spec: StepSpec, failure: Mapping[str, str]) -> StepFailed:
    if failure["type"] == "NotStorable" and "field" in failure:
        return NotStorable(failure["step"], failure["field"], failure["why"])
    kind = ToolFailed if spec.kind == "tool" else StepFailed
    return kind(failure["type"], failure["message"])


def is_cancelled() -> bool:
    """Whether somebody asked the calling task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _in_thread(run: "Execution", spec: StepSpec, given: Given) -> Any:
    """Run a sync function in a daemon thread with this context; the run's slot is held until the thread ends."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def finish(value: object, error: BaseException | None) -> None:
        run.slot.thread_ended(thread)
        if future.done():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(_Carried(error))

    def work() -> None:
        value, error = None, None
        try:
            value = context.run(spec.function, *given.args, **given.kwargs)
        except BaseException as err:  # noqa: BLE001 - carried to who awaits the step
            error = err
        try:
            loop.call_soon_threadsafe(finish, value, error)
        except RuntimeError:  # the loop is closed: the process ends
            return

    thread = threading.Thread(target=work, name=f"pinfleet-step-{spec.name}", daemon=True)
    run.slot.thread_began(thread)
    thread.start()
    try:
        return await future
    except _Carried as carried:
        raise carried.error from None


class _Carried(Exception):
    """Carries any error through a future, which does not take SystemExit or StopIteration."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error
