"""One call of a step, or one recorded value: read from the journal, or made and recorded."""

import asyncio
import hmac
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pinfleet import bodies, clock, values
from pinfleet.bodies import Done, Given
from pinfleet.declared import StepSpec
from pinfleet.errors import BadDeclaration, NestedStep, OutsideRun
from pinfleet.identity import StepKey
from pinfleet.journal.handle import StepsUsedUp
from pinfleet.journal.interface import Batch, StepRow
from pinfleet.position import POSITION, Position

if TYPE_CHECKING:
    from pinfleet.runtime import Execution

_T = TypeVar("_T")
_LOG: Final = logging.getLogger("pinfleet.run")


def arguments_of(run: "Execution", spec: StepSpec, named: Mapping[str, object]) -> bytes:
    """Return a call's arguments as they are recorded; of a secret, the hash under the author's key and for this run."""

    def keyed(text: bytes) -> str:
        if run.agent.secret_key is None:
            raise BadDeclaration(f"{spec.kind} {spec.name!r} is given a Secret, which needs Agent(secret_key=...)")
        return hmac.digest(run.agent.secret_key(), run.assignment.uid.encode() + b"\0" + text, "sha256").hex()

    return values.arguments(named, spec.name, keyed)


def place_of(run: "Execution", what: str) -> Position:
    """Return where a step, tool or wait is called, if it may be called there.

    Raises:
        OutsideRun: No run's code calls.
        NestedStep: A step's body calls.
    """
    position = POSITION.get()
    if position is None:
        raise OutsideRun(f"{what} has no run")
    if position.step is not None:
        raise NestedStep(f"{what} was called inside step {position.step}; only the outer one is recorded")
    run.handle.require_open()
    return position


async def run_step(run: "Execution", spec: StepSpec, given: Given) -> Any:
    """Return the step's value, or raise its failure; the same live and on replay."""
    position = place_of(run, f"step {spec.name!r}")
    with run.identities.held(position.scope, spec.name) as called, position.crossing():
        key = run.record.known_as(called)
        arguments = arguments_of(run, spec, spec.named(given.args, given.kwargs))
        await run.boundary(position)
        row = run.record.step(key)
        if row is not None:
            if row.arguments != arguments:
                _LOG.warning(
                    "a recorded step is called with other arguments; the record stands", extra={"step": str(key)}
                )
            return await bodies.replayed(run, spec, row)
        async with run.admitted(position):
            done = await _executed(run, spec, replace(position, step=key), arguments, given)
        return done.give()


async def _executed(run: "Execution", spec: StepSpec, position: Position, arguments: bytes, given: Given) -> Done:
    key = position.step
    assert key is not None  # noqa: S101 - the caller set it
    await run.handle.flush()  # a recorded value that the step is given must be durable before it acts on it
    begun = clock.now().wall
    done = await _body(run, spec, position, given)
    await record(run, spec, key, done, arguments, begun)
    return done


async def record(run: "Execution", spec: StepSpec, key: StepKey, done: Done, arguments: bytes, begun: datetime) -> None:
    """Commit what a step or a tool gave."""
    row = StepRow(
        key=key, kind=spec.kind, status=done.status, arguments=arguments, result=done.text, manifest=run.manifest,
        attempt=run.next_attempt(), begun=begun, committed=clock.now().wall,
    )  # fmt: skip
    tokens = _tokens(run, spec, done)
    try:
        await run.handle.commit(Batch(steps=(row,), tokens=tokens))
    except StepsUsedUp:
        run.out_of_steps()
        await run.hold()
    run.progressed()


def _tokens(run: "Execution", spec: StepSpec, done: Done) -> int:
    """Return how many tokens a result used; a hook that fails must not cost the record of what was done."""
    if spec.tokens is None or done.status != "ok":
        return 0
    used: object
    try:
        used = spec.tokens(done.value)
    except Exception as err:  # noqa: BLE001 - the author's code
        used = err
    if isinstance(used, int) and used >= 0:
        return used
    extra = {"run": run.assignment.uid, "step": spec.name, "gave": type(used).__name__}
    _LOG.error("tokens= gave no number of tokens: this step counts as none", extra=extra)
    return 0


async def _body(run: "Execution", spec: StepSpec, position: Position, given: Given) -> Done:
    """Run the author's function; its failure is a value, a stop of the run is not."""

    async def once() -> Any:
        run.place.trace("step", run.assignment.uid, key=position.step)
        return await bodies.call(run, spec, position, given)

    try:
        return bodies.succeeded(spec, await bodies.retried(run, spec, once))
    except bodies.NOT_RECORDED:
        raise
    except asyncio.CancelledError as err:
        if run.is_stopping or bodies.is_cancelled():
            raise
        return bodies.failed(spec, err)  # the step cancelled something of its own
    except BaseException as err:  # noqa: BLE001 - also SystemExit: it ends the step, never the pod
        return bodies.failed(spec, err)


def value_row(run: "Execution", key: StepKey, text: bytes) -> StepRow:
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
    row = run.record.step(key)
    if row is not None:
        return values.decode(row.result, kind, name)  # type: ignore[no-any-return]
    made = make()
    run.handle.later(step=value_row(run, key, values.encode(made, name)))
    return made
