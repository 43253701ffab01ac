"""Approvals: a person decides about exactly what was asked, and the decision is a fact in the journal.

What is asked is bound by a hash over the run, the request, the arguments and the expiry. What the person sees is
rendered by code, never by a model; nothing that a model writes is a decision.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from pinfleet import clock, values
from pinfleet.errors import Denied, Expired, Incompatible, NotStorable
from pinfleet.identity import StepKey, wait_id
from pinfleet.journal.interface import DecisionRow, WaitRow
from pinfleet.position import Position
from pinfleet.stepping import place_of
from pinfleet.waiting import Asked
from pinfleet.wire import SHOWN_LIMIT

if TYPE_CHECKING:
    from pinfleet.runtime import Execution

APPROVE: Final = "ctx.approve"


@dataclass(frozen=True, slots=True)
class Approval:
    """A person said yes."""

    by: str
    at: datetime
    via: str = ""  # who passed it on, if the person did not write it into the cluster
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """What a person is asked."""

    what: str  # its name, for people
    arguments: bytes  # canonical JSON of what the decision is bound to
    shown: Mapping[str, object]  # what the person sees
    within: timedelta | None = None  # what the person gets; None: no end
    who: str = ""  # who may decide, in words for people


def request_hash(run: str, key: StepKey, arguments: bytes, until: datetime | None) -> str:
    """Return what a decision must name; it has no version in it, so a decision outlives a pod and its code."""
    bound = {
        "run": run,
        "request": wait_id(key),
        "step": list(key),
        "arguments": arguments.decode(),
        "expiry": until.astimezone(UTC).isoformat() if until else None,
    }
    text = json.dumps(bound, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


async def approve(
    run: "Execution", what: str, show: Mapping[str, object], within: timedelta | None, who: str
) -> Approval:
    """Ask a person about something that is no tool's call; see ``Ctx.approve``."""
    position = place_of(run, APPROVE)
    with run.identities.held(position.scope, f"{APPROVE}.{what}") as key, position.crossing():
        return await ask(run, position, key, Request(what, values.arguments(show, what), show, within, who))


async def ask(run: "Execution", position: Position, key: StepKey, request: Request) -> Approval:
    """Return the approval of a request; the run parks until a person decides.

    Raises:
        Denied: A person said no.
        Expired: Nobody decided in time.
    """
    shown = _rendered(request)

    def bound(row: WaitRow) -> str:
        return request_hash(run.assignment.uid, key, request.arguments, row.until)

    row = await run.waiting.begin(position, key, "Approval", request.within, request_hash=bound, shown=lambda _: shown)
    if row.request_hash != bound(row) and run.place.rules.request_hash:
        text = f"run {run.assignment.name} asked a person for {request.what} ({key}) with other arguments"
        await run.incompatible(Incompatible(f"{text}; what was decided does not count for these"))
    if row.answer is None:
        asked = Asked(
            name=request.what, who=request.who, is_ready=lambda: run.inbox.decision(row.request_hash) is not None
        )
        run.record.asked.append(row)
        await run.waiting.until(position, row, asked)
        answer = _answer(run.inbox.decision(row.request_hash), row.until)
        row = replace(row, answer=answer, answered=clock.now().wall)
        run.handle.later(wait=row)
    return _given(request, json.loads(row.answer or b"null"))


def _answer(decision: DecisionRow | None, until: datetime | None) -> bytes:
    """Return the recorded answer; a decision after the expiry is none."""
    if decision is None or (until is not None and decision.at >= until):
        return b'"expired"'
    return values.encode(
        {
            "decision": decision.decision,
            "by": decision.by,
            "via": decision.via,
            "comment": decision.comment,
            "at": decision.at.isoformat(),
        },
        APPROVE,
    )


def _given(request: Request, answer: Any) -> Approval:
    if answer == "expired":
        raise Expired(f"nobody decided about {request.what} in {request.within}")
    if answer["decision"] != "approved":
        raise Denied(request.what, answer["by"], answer["comment"])
    return Approval(answer["by"], datetime.fromisoformat(answer["at"]), answer["via"], answer["comment"])


def _rendered(request: Request) -> bytes:
    """Return the JSON object that the person sees: all of it, or an error; a part of it could mislead."""
    text = values.encode(dict(request.shown), request.what, field="show", tagged=False)
    if len(text) > SHOWN_LIMIT:
        raise NotStorable(request.what, "show", f"{len(text)} bytes for a person, over {SHOWN_LIMIT}; show less")
    return text
