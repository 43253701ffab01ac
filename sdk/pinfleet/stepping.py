"""One call of a step: read from the journal, or executed and recorded."""

import asyncio
import contextvars
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pinfleet import clock, values
from pinfleet.agent import StepSpec
from pinfleet.errors import AmbiguousStep, NestedStep, NotStorable, OutsideRun, RunStopped, StepFailed, describe
from pinfleet.identity import StepKey
from pinfleet.journal.handle import StepsUsedUp
from pinfleet.journal.interface import Batch, StepRow, StepStatus
from pinfleet.position import POSITION, Position

if TYPE_CHECKING:
    from pinfleet.runtime import Execution

_T = TypeVar("_T")
_LOG: Final = logging.getLogger("pinfleet.run")
_MISUSE: Final = (NestedStep, OutsideRun, AmbiguousStep)
"""Mistakes in the code around steps: said to the author, recorded as nothing."""


@dataclass(frozen=True, slots=True)
class _Done:
    """What a step's body gave."""

    status: StepStatus
    text: bytes  # JSON of the value, or of the failure
    value: Any = None  # as it comes back from the text, so that live and replay are the same
    error: StepFailed | None = None
    cause: BaseException | None = None


async def run_step(run: "Execution", spec: StepSpec, args: tuple[object, ...], kwargs: dict[str, object]) -> Any:
    """Return the step's value, or raise its failure; the same live and on replay."""
    position = POSITION.get()
    if position is None:
        raise OutsideRun(f"step {spec.name!r} has no run")
    if position.step is not None:
        raise NestedStep(f"step {spec.name!r} was called inside step {position.step}; only the outer one is recorded")
    run.handle.require_open()
    key = run.identities.begin(position.scope, spec.name)
    try:
        arguments = values.arguments(spec.named(args, kwargs), spec.name)
        row = run.recorded_step(key)
        if row is not None:
            return _replayed(spec, row, arguments)
        await run.admit()
        try:
            return await _executed(run, spec, Position(run, position.scope, key), arguments, (args, kwargs))
        finally:
            run.leave()
    finally:
        run.identities.finish(key)


def _replayed(spec: StepSpec, row: StepRow, arguments: bytes) -> Any:
    if row.arguments != arguments:
        _LOG.warning("a recorded step is called with other arguments; the record stands", extra={"step": str(row.key)})
    if row.status == "ok":
        return values.decode(row.result, spec.returns, spec.name)
    failure = json.loads(row.result)
    if failure["type"] == "NotStorable" and "field" in failure:
        raise NotStorable(failure["step"], failure["field"], failure["why"])
    raise StepFailed(failure["type"], failure["message"])


async def _executed(
    run: "Execution",
    spec: StepSpec,
    position: Position,
    arguments: bytes,
    call: tuple[tuple[object, ...], dict[str, object]],
) -> Any:
    key = position.step
    assert key is not None  # noqa: S101 - the caller set it
    await run.handle.flush()  # a recorded value that the step is given must be durable before it acts on it
    begun = clock.now().wall
    done = await _body(run, spec, position, call)
    row = StepRow(
        key=key, kind="step", status=done.status, arguments=arguments, result=done.text, manifest=run.manifest,
        attempt=run.next_attempt(), begun=begun, committed=clock.now().wall,
    )  # fmt: skip
    try:
        await run.handle.commit(Batch(steps=(row,)))
    except StepsUsedUp:
        run.out_of_steps()
        await run.hold()
    run.progressed()
    if done.error is not None:
        raise done.error from done.cause
    return done.value


async def _body(
    run: "Execution", spec: StepSpec, position: Position, call: tuple[tuple[object, ...], dict[str, object]]
) -> _Done:
    """Run the author's function; its failure is a value, a stop of the run is not."""
    args, kwargs = call
    token = POSITION.set(position)
    try:
        value = await (spec.function(*args, **kwargs) if spec.is_async else _in_thread(run, spec, args, kwargs))
        text = values.encode(value, spec.name)
        return _Done("ok", text, values.decode(text, spec.returns, spec.name))
    except (RunStopped, GeneratorExit, *_MISUSE):
        raise
    except asyncio.CancelledError as err:
        if run.is_stopping or _is_cancelled():
            raise
        return _failed(err)  # the step cancelled something of its own
    except BaseException as err:  # noqa: BLE001 - also SystemExit: it ends the step, never the pod
        return _failed(err)
    finally:
        POSITION.reset(token)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _failed(err: BaseException) -> _Done:
    kind, message = describe(err)
    failure = {"type": kind, "message": message}
    error: StepFailed
    if isinstance(err, NotStorable):
        failure |= {"step": err.step, "field": err.field, "why": err.why}
        error = NotStorable(err.step, err.field, err.why)
    else:
        error = StepFailed(kind, message)
    return _Done("failed", values.encode(failure, "failure"), error=error, cause=err)


async def _in_thread(run: "Execution", spec: StepSpec, args: tuple[object, ...], kwargs: dict[str, object]) -> Any:
    """Run a sync step in a daemon thread with this context; the run's slot is held until the thread ends."""
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
            value = context.run(spec.function, *args, **kwargs)
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


def _value_row(run: "Execution", key: StepKey, text: bytes) -> StepRow:
    """Return the row of a recorded value, such as the time."""
    now = clock.now().wall
    return StepRow(
        key=key, kind="value", status="ok", arguments=b"{}", result=text, manifest=run.manifest,
        attempt=run.next_attempt(), begun=now, committed=now,
    )  # fmt: skip


def value(run: "Execution", position: Position, name: str, make: Callable[[], _T], kind: type[_T]) -> _T:
    """Return a recorded value, or make one; it is durable before the next step begins."""
    if position.step is not None:
        raise NestedStep(f"{name} inside step {position.step}: a step's own values are not recorded")
    run.handle.require_open()
    key = run.identities.next(position.scope, name)
    row = run.recorded_step(key)
    if row is not None:
        return values.decode(row.result, kind, name)  # type: ignore[no-any-return]
    made = make()
    run.handle.later(step=_value_row(run, key, values.encode(made, name)))
    return made
