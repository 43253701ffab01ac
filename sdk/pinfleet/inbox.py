"""What people and other programs send a run: messages and decisions.

Both come with offers, possibly again and again. They are in the journal before any code sees them; what cannot count is
refused with a line in the log, and stalls nothing.
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pinfleet import clock, values
from pinfleet.errors import Expired, NotStorable
from pinfleet.identity import StepKey
from pinfleet.journal.interface import Batch, DecisionRow, InboxRow
from pinfleet.reports import Seen
from pinfleet.stepping import place_of
from pinfleet.waiting import Asked
from pinfleet.wire import DECISIONS_LIMIT, Decision, InboxMessage

if TYPE_CHECKING:
    from pinfleet.runtime import Execution

_LOG: Final = logging.getLogger("pinfleet.run")
_RECEIVE: Final = "ctx.receive"


@dataclass(frozen=True, slots=True)
class _Refused:
    """A message that fits nothing that the run receives."""

    id: str
    why: str


class Inbox:
    """The messages and decisions of one execution.

    Args:
        run: Whose they are.
    """

    def __init__(self, run: "Execution") -> None:
        self._run = run
        self._messages = dict(run.record.history.inbox)
        self._decisions = dict(run.record.history.decisions)
        self._known = dict.fromkeys([*run.record.earlier.messages, *self._messages])
        self._count = max((run.record.earlier.messages_seen, *(row.number for row in self._messages.values())))
        self._handled = dict.fromkeys(self._decisions)  # hashes, also of decisions that were refused
        self._delivering = asyncio.Lock()
        self._refused: dict[StepKey, list[_Refused]] = {}

    @property
    def seen(self) -> Seen:
        """What the operator need not offer again."""
        return Seen(self._count, tuple(list(self._handled)[-DECISIONS_LIMIT:]))

    @property
    def known(self) -> list[str]:
        """Ids of the messages that came, the latest last."""
        return list(self._known)

    # -- what comes ----------------------------------------------------------------------------------------------

    async def deliver(self, messages: Sequence[InboxMessage], decisions: Sequence[Decision]) -> None:
        """Record what an offer brings, then let the waits look at it.

        One offer after the other: the next one often brings again what is being recorded.
        """
        async with self._delivering:
            await self._deliver(messages, decisions)

    async def _deliver(self, messages: Sequence[InboxMessage], decisions: Sequence[Decision]) -> None:
        now = clock.now().wall
        fresh = [message for message in messages if message.id not in self._known]
        fresh = list({message.id: message for message in reversed(fresh)}.values())[::-1]  # the first of an id counts
        rows = tuple(
            InboxRow(id=message.id, number=self._count + i, body=bytes(message.body), received=now)
            for i, message in enumerate(fresh, 1)
        )
        decided = tuple(_row(decision) for decision in decisions if self._may_count(decision))
        if not rows and not decided:
            return
        await self._run.handle.commit(Batch(inbox=rows, decisions=decided))
        self._count += len(rows)
        self._known |= dict.fromkeys(row.id for row in rows)
        self._messages |= {row.id: row for row in rows}
        for row in decided:
            self._decisions.setdefault(row.request_hash, row)
            self._handled[row.request_hash] = None
        self._run.waiting.look()
        self._run.progressed()

    def _may_count(self, decision: Decision) -> bool:
        """Whether a decision is the first about something that was asked, and of a person who may decide."""
        if decision.hash in self._decisions:
            return False
        assignment = self._run.assignment
        asked = any(row.request_hash == decision.hash for row in self._run.record.asked)
        if not asked and self._run.place.rules.request_hash:
            why = "the run asks for nothing of this hash"
            self._handled[decision.hash] = None  # it can never count; another person's about an asked one still can
        elif assignment.requester and decision.by == assignment.requester:
            why = "it is the requester's own"
        else:
            return True
        extra = {"run": assignment.uid, "hash": decision.hash, "why": why}
        _LOG.warning("a decision was refused", extra=extra)
        return False

    def decision(self, request_hash: str) -> DecisionRow | None:
        """Return what was decided about a request."""
        if not self._run.place.rules.request_hash:
            return next(iter(self._decisions.values()), None)  # the control: approvals by position
        return self._decisions.get(request_hash)

    # -- what code takes -----------------------------------------------------------------------------------------

    async def receive(self, kind: Any, within: timedelta | None) -> Any:
        """Return the first message of a type that nobody took; see ``Ctx.receive``."""
        run = self._run
        position = place_of(run, _RECEIVE)
        with run.identities.held(position.scope, _RECEIVE) as key, position.crossing():
            row = await run.waiting.begin(position, key, "Message", within)
            if row.answer is None:
                name = getattr(kind, "__name__", str(kind))
                asked = Asked(
                    name=name,
                    is_ready=lambda: self._fitting(kind, key) is not None,
                    shown=lambda: self._shown(key),
                )
                await run.waiting.until(position, row, asked)
                message = self._fitting(kind, key)
                taken = replace(message, taken_by=key) if message is not None else None
                if taken is not None:
                    self._messages[taken.id] = taken
                row = replace(row, answer=_answer(message), answered=clock.now().wall)
                run.handle.later_all(Batch(waits=(row,), inbox=(taken,) if taken else ()))
            body = json.loads(row.answer or b"null")["body"]
            if body is None:
                raise Expired(f"no {getattr(kind, '__name__', kind)} came in {within}")
            return values.decode(body.encode(), kind, _RECEIVE, field="message")

    def _fitting(self, kind: Any, key: StepKey) -> InboxRow | None:
        """Return the first message that fits; those that fit nothing that the agent receives are refused."""
        for row in sorted(self._messages.values(), key=lambda row: row.number):
            if row.taken_by is not None:
                continue
            why = _why_not(row, kind)
            if why is None:
                return row
            if all(_why_not(row, other) is not None for other in self._run.agent.messages):
                self._refuse(row, key, why)
        return None

    def _refuse(self, row: InboxRow, key: StepKey, why: str) -> None:
        taken = replace(row, taken_by=key)
        self._messages[row.id] = taken
        self._refused.setdefault(key, []).append(_Refused(row.id, why))
        self._run.handle.later_all(Batch(inbox=(taken,)))
        extra = {"run": self._run.assignment.uid, "id": row.id, "why": why}
        _LOG.warning("a message was refused: it does not fit what the run receives", extra=extra)

    def _shown(self, key: StepKey) -> bytes | None:
        """Return what a person sees at a wait for messages: the newest that it refused."""
        refused = self._refused.get(key)
        if not refused:
            return None
        return values.encode({"refused": {"id": refused[-1].id, "why": refused[-1].why}}, _RECEIVE, tagged=False)


def _answer(message: InboxRow | None) -> bytes:
    body = message.body.decode() if message is not None else None
    return json.dumps({"id": message.id if message is not None else None, "body": body}).encode()


def _row(decision: Decision) -> DecisionRow:
    return DecisionRow(
        request_hash=decision.hash, decision=decision.decision, by=decision.by, at=decision.at, via=decision.via,
        comment=decision.comment,
    )  # fmt: skip


def _why_not(row: InboxRow, kind: Any) -> str | None:
    """Say why a message does not fit a type; None if it does."""
    try:
        values.decode(row.body, kind, "message", field=row.id)
    except (NotStorable, ValueError, ArithmeticError, RecursionError) as err:
        return err.why if isinstance(err, NotStorable) else f"not JSON: {type(err).__name__}"
    return None
