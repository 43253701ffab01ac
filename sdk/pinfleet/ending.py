"""How runs end: outcomes as the journal and the wire hold them, and the size of results."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from pinfleet import values
from pinfleet.errors import AgentError, BadInput, NotStorable, ResultTooLarge, describe
from pinfleet.journal.interface import End
from pinfleet.secret import scrubbed_json
from pinfleet.wire import EndReason, Failure, Outcome

_LOG: Final = logging.getLogger("pinfleet.run")

RESULT_LIMIT: Final = 16_384
"""Largest JSON text of a result; the run object holds it."""


def read_input(text: bytes, declared: Any) -> Any:
    """Return the run's input as main declares it.

    Raises:
        BadInput: It does not fit.
    """
    try:
        return values.decode(text, declared, "main", field="input")
    except (NotStorable, ValueError, ArithmeticError, RecursionError) as err:
        raise BadInput(str(err)) from err


def succeeded(value: object) -> End:
    """Return the end of a run whose main returned; a result that cannot be held is a failure."""
    try:
        text = shown(values.encode(value, "main", tagged=False), "result")
        if len(text) > RESULT_LIMIT:
            raise ResultTooLarge(
                f"the result is {len(text)} bytes of JSON, over {RESULT_LIMIT}; return a reference to it"
            )
    except AgentError as err:
        return failed(err)
    return End("succeeded", msgspec.json.encode(Outcome(result=msgspec.Raw(text))))


def shown(text: bytes, what: str) -> bytes:
    """Return the JSON text of what a run object will show: without secrets."""
    clean = scrubbed_json(text.decode()).encode()
    if clean != text:
        _LOG.warning("what a run shows held a secret, which is left out", extra={"what": what})
    return clean


def failed(error: BaseException) -> End:
    """Return the end of a run whose main raised."""
    kind, message = describe(error)
    return End("failed", msgspec.json.encode(Outcome(error=Failure(type=kind, message=message))))


def journal_lost(found: int, known: int) -> End:
    """Return why a run is not executed whose journal holds fewer steps than are known to have been recorded."""
    message = (
        f"the journal holds {found} steps of this run, {known} were recorded: it is not the one that the run wrote. "
        "Bring that one back, or cancel the run: going on would run recorded steps again"
    )
    return End("failed", msgspec.json.encode(Outcome(error=Failure(type="JournalLost", message=message))))


def limit(which: Any, partial: bytes | None = None) -> End:
    """Return the end of a run that used up a bound; it leaves its partial result."""
    outcome = Outcome(limit=which) if partial is None else Outcome(limit=which, result=msgspec.Raw(partial))
    return End("limit", msgspec.json.encode(outcome))


def of_reason(reason: EndReason, partial: bytes | None = None) -> End:
    """Return the end that a DELETE or an offer's ``end`` asks for."""
    if reason in {"deadline", "active"}:
        return limit(reason, partial)
    if reason == "attempts":
        failure = Failure(type="AttemptsExhausted", message="its executions kept ending without an outcome")
        return End("failed", msgspec.json.encode(Outcome(error=failure)))
    return End("cancelled", b"{}")


async def compensate(functions: Sequence[Callable[[], Awaitable[None]]], seconds: float, run: str) -> None:
    """Call what ``ctx.on_cancel`` was given, the last first, each within a time; a failure stops none of the others."""
    for function in reversed(functions):
        try:
            async with asyncio.timeout(seconds):
                await function()
        except Exception:  # noqa: BLE001 - the others run all the same
            _LOG.exception("a compensation failed", extra={"run": run})
