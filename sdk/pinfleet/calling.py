"""One call of a tool: the intent is in the journal before anything is sent, the result after it.

A call that was begun elsewhere and has no answer is sent again with its key, reconciled, or unknown: by the tool's
policy. Fencing stops commits, not sends, so whatever may act without a key that the provider honours waits until the
process that sent before is gone.
"""

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pinfleet import bodies, clock, doubt, people, stepping
from pinfleet.bodies import Done, Given
from pinfleet.call import Call
from pinfleet.declared import ToolSpec, plain_function
from pinfleet.errors import Denied, Expired, Incompatible, NotSent, OutcomeUnknown
from pinfleet.identity import StepKey, child_scope
from pinfleet.journal.interface import Batch, CallRow
from pinfleet.position import Position

if TYPE_CHECKING:
    from pinfleet.runtime import Execution

_LOG: Final = logging.getLogger("pinfleet.run")
_ASK: Final = "ctx.ask"
AGAIN: Final = " again"
"""Ends the name of what a person is asked about a call in doubt."""

_STILL_RUNNING_SECONDS: Final = 1.0  # between two looks at a provider that still works on this call


@dataclass(slots=True)
class _Calling:
    """One call that is being made."""

    run: "Execution"
    spec: ToolSpec
    position: Position  # of the tool's body: its step is the call's identity
    given: Given
    named: Mapping[str, object]
    arguments: bytes
    row: CallRow | None = None  # the newest attempt, once there is an intent

    @property
    def key(self) -> StepKey:
        """Identity of the call."""
        assert self.position.step is not None  # noqa: S101 - set when it was made
        return self.position.step


async def run_tool(run: "Execution", spec: ToolSpec, given: Given) -> Any:
    """Return the tool's value, or raise ToolFailed, OutcomeUnknown, Denied or Expired; the same live and on replay."""
    position = stepping.place_of(run, f"tool {spec.name!r}")
    with run.identities.held(position.scope, spec.name) as called, position.crossing():
        key = run.record.known_as(called)
        named = spec.named(given.args, given.kwargs)
        arguments = stepping.arguments_of(run, spec, named)
        await run.boundary(position)
        calling = _Calling(run, spec, replace(position, step=key), given, named, arguments, run.record.call(key))
        row = run.record.step(key)
        recorded = row or calling.row
        if recorded is not None and recorded.arguments != arguments:
            text = f"run {run.assignment.name} recorded tool {key} with other arguments than this code gives it"
            await run.incompatible(Incompatible(text))
        if row is not None:
            if row.status == "unknown":
                raise doubt.recorded(row)
            return await bodies.replayed(run, spec, row)
        done = await _called(calling, position)
        return done.give()


async def _called(calling: _Calling, outer: Position) -> Done:
    run, spec = calling.run, calling.spec
    begun = clock.now().wall
    if calling.row is None:
        same = run.record.unknown.get((spec.name, calling.arguments))
        if same is not None:  # who tries again after a call in doubt must not pay twice
            return await _recorded(calling, outer, doubt.unknown(OutcomeUnknown(same)), begun)
        await _approved(calling, outer)
        done = await _tried(calling, outer, begun)
    elif await _may_go_on(calling):
        done = await _tried(calling, outer, begun)
    else:
        done = doubt.unknown(OutcomeUnknown(_begun_elsewhere(calling)))
    while done.status == "unknown" and spec.asks and await _asked(calling, outer):
        if not await _previous_gone(calling):
            break
        done = await _tried(calling, outer, begun)
    return await _recorded(calling, outer, done, begun) if done.status == "unknown" else done


async def _approved(calling: _Calling, outer: Position) -> None:
    """Let a person decide before the first send, if the declaration says so or it was asked before."""
    spec, run = calling.spec, calling.run
    if spec.approve is None:
        return
    was_asked = run.record.wait(calling.key) is not None
    if not was_asked and not spec.approve(**spec.given_to(spec.approve, calling.named)):
        return
    shown = {name: calling.named[name] for name in spec.show}
    request = people.Request(spec.name, calling.arguments, shown, spec.within, spec.who)
    await people.ask(run, outer, calling.key, request)


async def _may_go_on(calling: _Calling) -> bool:
    """Say whether a call that was begun and has no answer may be sent again, or reconciled."""
    spec, row = calling.spec, calling.row
    assert row is not None  # noqa: S101 - there is an intent
    if spec.resend:
        sent = row.first_sent or row.begun
        return clock.now().wall - sent < spec.key_lifetime
    if spec.is_safe or spec.reconcile is not None:
        return await _previous_gone(calling)
    return False


async def _previous_gone(calling: _Calling) -> bool:
    """Wait until the process that sent before can send no more; False once the call's timeout is over."""
    row, run = calling.row, calling.run
    since = (row.sent or row.begun) if row is not None else clock.now().wall
    left = (since + calling.spec.call_timeout - clock.now().wall).total_seconds()
    return await run.previous_gone(max(0.0, left))


async def _asked(calling: _Calling, outer: Position) -> bool:
    """Let a person say whether a call in doubt is sent again."""
    spec, key = calling.spec, calling.key
    attempt = calling.row.attempt if calling.row is not None else 0
    asks = StepKey(child_scope(key.scope, f"{key.name}#{key.n}"), _ASK, attempt)
    shown = {"question": "its outcome is unknown: send it again?"} | {n: calling.named[n] for n in spec.show}
    request = people.Request(spec.name + AGAIN, calling.arguments, shown, spec.within, spec.who)
    try:
        await people.ask(calling.run, outer, asks, request)
    except (Denied, Expired):
        return False
    return True


# -- sending -------------------------------------------------------------------------------------------------------


async def _tried(calling: _Calling, outer: Position, begun: Any) -> Done:
    """Reconcile or send, and record what came of it; what is unknown is left to the caller."""
    run, spec = calling.run, calling.spec
    async with run.admitted(outer):
        try:
            if spec.reconcile is not None and calling.row is not None:
                done = await _reconciled(calling)
                if done is None:
                    done = await _sent(calling)
            else:
                done = await _sent(calling)
        except asyncio.CancelledError:
            if not run.is_stopping and not spec.is_safe and calling.row is not None:
                await _record(calling, doubt.unknown(OutcomeUnknown("cancelled while it was under way")), begun)
            raise
        if done.status != "unknown":
            await _record(calling, done, begun)
    return done


async def _reconciled(calling: _Calling) -> Done | None:
    """Ask the provider what became of the call; None: it does not know it, so it may be sent."""
    spec, row = calling.spec, calling.row
    assert spec.reconcile is not None  # noqa: S101 - the caller looked
    assert row is not None  # noqa: S101 - the caller looked
    call = Call(row.idempotency_key, row.attempt)
    asking = replace(spec, function=plain_function(spec.reconcile, "reconcile"))
    given = Given((call,), spec.given_to(spec.reconcile, calling.named))
    try:
        return bodies.succeeded(spec, await bodies.call(calling.run, asking, calling.position, given))
    except NotSent:
        return None
    except bodies.NOT_RECORDED:
        raise
    except Exception as err:  # noqa: BLE001 - whatever it is, nobody knows what became of the call
        return doubt.unknown(OutcomeUnknown(f"it could not be reconciled: {type(err).__name__}: {err}"))


async def _sent(calling: _Calling) -> Done:
    run, spec = calling.run, calling.spec
    try:
        value = await bodies.retried(run, spec, lambda: _once(calling))
    except (*bodies.NOT_RECORDED, Incompatible):
        raise
    except asyncio.CancelledError as err:
        if run.is_stopping or bodies.is_cancelled():
            raise
        return bodies.failed(spec, err) if spec.is_safe else doubt.unknown(OutcomeUnknown("it was cancelled inside"))
    except BaseException as err:  # noqa: BLE001 - also SystemExit: it ends the call, never the pod
        if not spec.is_safe and doubt.is_in_doubt(err):
            return doubt.unknown(OutcomeUnknown(str(err) or type(err).__name__))
        return bodies.failed(spec, err)
    return bodies.succeeded(spec, value)


async def _once(calling: _Calling) -> Any:
    """Commit an intent, which reads the fence, and send at once."""
    run, spec = calling.run, calling.spec
    seconds = spec.call_timeout.total_seconds()
    until = clock.now().monotonic + seconds
    while True:
        if run.place.rules.intent_first:
            await _intend(calling)
        row = calling.row or _first(calling)
        call = Call(row.idempotency_key, row.attempt)
        run.place.trace("sent", run.assignment.uid, key=calling.key, idempotency_key=call.key, attempt=call.attempt)
        try:
            async with asyncio.timeout(seconds):
                return await bodies.call(run, spec, calling.position, calling.given.after(call))
        except Exception as err:
            status = doubt.provider_status(err) if spec.resend and call.attempt > 1 else None
            if status == doubt.OTHER_ARGUMENTS:
                text = f"the provider knows the key of {calling.key} with other arguments: {err}"
                await run.incompatible(Incompatible(text))
            if status != doubt.STILL_RUNNING or clock.now().monotonic >= until:
                raise
        finally:
            if not run.place.rules.intent_first:
                await _intend(calling)  # the control: a key that is durable only after the call
        await run.place.pause(_STILL_RUNNING_SECONDS)


async def _intend(calling: _Calling) -> None:
    """Commit the next attempt's intent; the key is minted with the first one."""
    now = clock.now().wall
    row = calling.row
    if row is None:
        row = _first(calling)
    else:
        row = replace(row, attempt=row.attempt + 1, begun=now, sent=now, policy=calling.spec.policy)
    await calling.run.handle.commit(Batch(calls=(row,)))
    calling.row = row


def _first(calling: _Calling) -> CallRow:
    now = clock.now().wall
    return CallRow(
        key=calling.key, idempotency_key=mint(calling.run.assignment.uid, calling.key), policy=calling.spec.policy,
        attempt=1, arguments=calling.arguments, begun=now, first_sent=now, sent=now,
    )  # fmt: skip


def mint(run: str, key: StepKey) -> str:
    """Return the idempotency key of a call.

    It is a function of the call's identity: a journal that was restored from a backup, and lost the intent, still
    makes the same one.
    """
    return hashlib.sha256(f"{run} {key}".encode("utf-8", "surrogatepass")).hexdigest()[:40]


# -- recording -----------------------------------------------------------------------------------------------------


async def _recorded(calling: _Calling, outer: Position, done: Done, begun: Any) -> Done:
    async with calling.run.admitted(outer):
        await _record(calling, done, begun)
    return done


async def _record(calling: _Calling, done: Done, begun: Any) -> None:
    run, spec = calling.run, calling.spec
    await stepping.record(run, spec, calling.key, done, calling.arguments, begun)
    if done.status == "unknown":
        run.record.unknown[spec.name, calling.arguments] = str(done.error)
        _LOG.warning("the outcome of a call is unknown", extra={"run": run.assignment.uid, "call": str(calling.key)})


def _begun_elsewhere(calling: _Calling) -> str:
    row = calling.row
    where = f" on pod {row.pod}" if row is not None and row.pod else ""
    limit: timedelta = calling.spec.key_lifetime
    why = f"; its key is older than {limit}" if calling.spec.resend else ""
    return f"{calling.key} was begun{where} and has no answer{why}"
