"""Rows as the columns that both databases have, and back; what authors' code put into them passes the codec here.

What the journal itself adds to a row (segment, epoch, version, pod) is not among them: the run's own row says it, in
the transaction that writes.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pinfleet.errors import Incompatible
from pinfleet.identity import StepKey
from pinfleet.journal.interface import (
    CallRow,
    Codec,
    DecisionRow,
    End,
    History,
    InboxRow,
    Records,
    RunRow,
    StepRow,
    WaitRow,
)
from pinfleet.journal.verdicts import RunState

INLINE_LIMIT: Final = 16_384
"""Larger results go to the blob table, so that reading a run's steps stays cheap."""

Columns = dict[str, Any]
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """The records of one run, as the database gives them."""

    steps: Iterable[Record]  # with ``data`` of their blob
    calls: Iterable[Record]  # by attempt
    waits: Iterable[Record]
    inbox: Iterable[Record]  # by number
    decisions: Iterable[Record]


class Mapper:
    """Maps rows to columns and records to rows.

    Args:
        codec: Seals values.
    """

    def __init__(self, codec: Codec) -> None:
        self.codec = codec

    # -- to columns ----------------------------------------------------------------------------------------------

    def step(self, row: StepRow) -> tuple[Columns, bytes | None]:
        """Return a step's columns, and its result if that goes to the blob table."""
        sealed = self.codec.seal(row.result)
        is_large = len(sealed) > INLINE_LIMIT
        columns = _identity(row.key) | {
            "kind": row.kind, "status": row.status, "arguments": self.codec.seal(row.arguments),
            "result": None if is_large else sealed, "blob": hashlib.sha256(sealed).hexdigest() if is_large else None,
            "manifest": row.manifest, "attempt": row.attempt, "codec": self.codec.name,
            "begun": row.begun, "committed": row.committed,
        }  # fmt: skip
        return columns, sealed if is_large else None

    def call(self, row: CallRow) -> Columns:
        """Return a call's columns."""
        return _identity(row.key) | {
            "attempt": row.attempt, "key": row.idempotency_key, "policy": row.policy, "first_sent": row.first_sent,
            "sent": row.sent, "arguments": self.codec.seal(row.arguments), "codec": self.codec.name, "begun": row.begun,
        }  # fmt: skip

    def wait(self, row: WaitRow) -> Columns:
        """Return a wait's columns."""
        return _identity(row.key) | {
            "kind": row.kind, "hash": row.request_hash or None, "shown": self.seal(row.shown), "since": row.since,
            "until": row.until, "answer": self.seal(row.answer), "answered": row.answered, "codec": self.codec.name,
        }  # fmt: skip

    def message(self, row: InboxRow) -> Columns:
        """Return a message's columns."""
        scope, name, n = row.taken_by or (None, None, None)
        return {
            "id": row.id, "number": row.number, "body": self.codec.seal(row.body), "received": row.received,
            "taken_scope": scope, "taken_name": name, "taken_n": n, "codec": self.codec.name,
        }  # fmt: skip

    def decision(self, row: DecisionRow) -> Columns:
        """Return a decision's columns."""
        return {
            "hash": row.request_hash, "decision": row.decision, "by": row.by, "via": row.via,
            "comment": self.codec.seal(row.comment.encode()), "at": row.at, "codec": self.codec.name,
        }  # fmt: skip

    def seal(self, text: bytes | None) -> bytes | None:
        """Seal what may be absent."""
        return None if text is None else self.codec.seal(text)

    # -- from records --------------------------------------------------------------------------------------------

    def run(self, record: Record) -> RunState:
        """Return what claims and refusals go by; the record has the partial result, which stands apart."""
        return RunState(
            epoch=record["epoch"], boot=record["boot"], state=record["state"], steps=record["steps"],
            tokens=record["tokens"], end=self._end(record), partial=self._partial(record),
        )  # fmt: skip

    def run_row(self, record: Record) -> RunRow:
        """Return a run for people."""
        return RunRow(
            uid=record["uid"], name=record["name"], version=record["version"], epoch=record["epoch"],
            pod=record["pod"], schema=record["schema"], segment=record["segment"], state=record["state"],
            steps=record["steps"], tokens=record["tokens"], created=_time(record["created"]),
            claimed=_time(record["claimed"]), ended=_moment(record["ended"]),
            outcome=self._open_if(record["outcome"], record["codec"]),
        )  # fmt: skip

    def history(self, stored: Stored, run: Record) -> History:
        """Return what the records of a run's segment say."""
        whole = self.records(stored)
        return History(
            steps={row.key: row for row in whole.steps},
            waits={row.key: row for row in whole.waits},
            calls={row.key: row for row in whole.calls},  # by attempt: the last stays
            inbox={row.id: row for row in whole.inbox},
            decisions={row.request_hash: row for row in whole.decisions},
            segment=run["segment"],
            state=self._open_if(run["state"], run["state_codec"]),
            schema=run["schema"],
        )

    def records(self, stored: Stored) -> Records:
        """Return what the records say, in their order."""
        calls: list[CallRow] = []
        first: dict[StepKey, CallRow] = {}
        for record in stored.calls:
            call = self._call(record, first.get(_key(record)))
            first.setdefault(call.key, call)
            calls.append(call)
        return Records(
            steps=tuple(map(self._step, stored.steps)),
            calls=tuple(calls),
            waits=tuple(map(self._wait, stored.waits)),
            inbox=tuple(map(self._message, stored.inbox)),
            decisions=tuple(map(self._decision, stored.decisions)),
        )

    def _open(self, record: Record, column: str) -> bytes:
        """Open a column by the codec that the record names."""
        name = record["codec"]
        if name == self.codec.name:
            return self.codec.open(record[column])
        if name == "":
            return bytes(record[column])
        raise Incompatible(f"its rows are sealed by the codec {name!r}; this agent has {self.codec.name or 'none'!r}")

    def _open_if(self, stored: bytes | None, codec: str) -> bytes | None:
        return None if stored is None else self._open({"codec": codec, "stored": stored}, "stored")

    def _end(self, run: Record) -> End | None:
        return None if run["outcome"] is None else End(run["state"], self._open(run, "outcome"))

    def _partial(self, run: Record) -> bytes | None:
        return self._open_if(run["partial"], run["partial_codec"])

    def _step(self, record: Record) -> StepRow:
        return StepRow(
            key=_key(record), kind=record["kind"], status=record["status"], arguments=self._open(record, "arguments"),
            result=self._open(record, "data" if record["result"] is None else "result"), manifest=record["manifest"],
            attempt=record["attempt"], version=record["version"], pod=record["pod"], epoch=record["epoch"],
            segment=record["segment"], begun=_time(record["begun"]), committed=_time(record["committed"]),
        )  # fmt: skip

    def _call(self, record: Record, first: CallRow | None) -> CallRow:
        """Return an attempt; what the first one settled goes with it."""
        sent = _moment(record["sent"])
        return CallRow(
            key=_key(record), idempotency_key=first.idempotency_key if first else record["key"],
            policy=record["policy"], attempt=record["attempt"], arguments=self._open(record, "arguments"),
            begun=_time(record["begun"]), sent=sent, version=record["version"], pod=record["pod"],
            first_sent=(first and first.first_sent) or _moment(record["first_sent"]) or sent, epoch=record["epoch"],
        )  # fmt: skip

    def _wait(self, record: Record) -> WaitRow:
        return WaitRow(
            key=_key(record), kind=record["kind"], request_hash=record["hash"] or "", since=_time(record["since"]),
            shown=self._open_if(record["shown"], record["codec"]), until=_moment(record["until"]),
            answer=self._open_if(record["answer"], record["codec"]), answered=_moment(record["answered"]),
        )  # fmt: skip

    def _message(self, record: Record) -> InboxRow:
        is_taken = record["taken_scope"] is not None
        taken_by = StepKey(record["taken_scope"], record["taken_name"], record["taken_n"]) if is_taken else None
        return InboxRow(
            id=record["id"], number=record["number"], body=self._open(record, "body"),
            received=_time(record["received"]), taken_by=taken_by,
        )  # fmt: skip

    def _decision(self, record: Record) -> DecisionRow:
        return DecisionRow(
            request_hash=record["hash"], decision=record["decision"], by=record["by"], via=record["via"],
            comment=self._open(record, "comment").decode(), at=_time(record["at"]),
        )  # fmt: skip


def _identity(key: StepKey) -> Columns:
    return {"scope": key.scope, "name": key.name, "n": key.n}


def _key(record: Record) -> StepKey:
    return StepKey(record["scope"], record["name"], record["n"])


def _time(stored: str | datetime) -> datetime:
    return datetime.fromisoformat(stored) if isinstance(stored, str) else stored


def _moment(stored: str | datetime | None) -> datetime | None:
    return None if stored is None else _time(stored)
