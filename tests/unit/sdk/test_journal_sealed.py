"""A codec seals all that authors and people put into a journal, on both databases."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from pinfleet.errors import Incompatible
from pinfleet.journal.interface import Batch, Codec, DecisionRow, End, PlainCodec
from pinfleet.journal.opening import open_journal
from tests.unit.sdk.journal_contract import NOW, call, claim, commit, message, step, wait

SECRET = b'"secret"'
LARGE = b'"' + b"secret" * 10_000 + b'"'
TABLES = ("run", "step", "call", "wait", "inbox", "decision", "kept", "blob")


class Rot:
    """A codec that reverses."""

    name = "rot"

    def seal(self, text: bytes) -> bytes:
        """Reverse."""
        return text[::-1]

    def open(self, stored: bytes) -> bytes:
        """Reverse."""
        return stored[::-1]


def leave_secrets(url: str, codec: Codec) -> None:
    """Put a secret wherever one may be."""
    rows = Batch(
        steps=(replace(step(result=SECRET), arguments=SECRET), replace(step(2, result=LARGE), arguments=SECRET)),
        calls=(replace(call(), arguments=SECRET),),
        waits=(replace(wait(), shown=SECRET, answer=SECRET),),
        inbox=(replace(message(), body=SECRET),),
        decisions=(DecisionRow(request_hash="abc", decision="Approve", by="ann", at=NOW, comment="secret"),),
        partial=SECRET,
        restart=SECRET,
    )
    with closing(open_journal(url, codec=codec)) as journal:
        journal.claim(claim())
        assert commit(journal, rows).status == "committed"
        assert commit(journal, Batch(end=End("failed", SECRET))).status == "committed"


def columns_with_it(url: str) -> set[str]:
    """Return the columns in which the secret can be read."""
    connect: Any = psycopg.connect if url.startswith("postgres") else sqlite3.connect
    found = set()
    with closing(connect(url.removeprefix("sqlite:///"))) as db:
        for table in TABLES:
            cursor = db.execute(f"SELECT * FROM {table}")
            rows = cursor.fetchall()
            assert rows, table
            for number, column in enumerate(cursor.description):
                if any(b"secret" in _bytes(row[number]) for row in rows):
                    found.add(f"{table}.{column[0]}")
    return found


def _bytes(value: object) -> bytes:
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()


def test_a_codec_seals_every_value(state_url: str) -> None:
    """Nothing of them can be read in any column, and all of it comes back; rows name their codec."""
    leave_secrets(state_url, Rot())
    assert columns_with_it(state_url) == set()
    with closing(open_journal(state_url, codec=Rot())) as journal:
        whole = journal.load_whole("r1")
        assert [row.result for row in whole.steps] == [SECRET, LARGE]
        assert {row.arguments for row in whole.steps} | {whole.calls[0].arguments} == {SECRET}
        assert (whole.waits[0].shown, whole.waits[0].answer, whole.inbox[0].body) == (SECRET, SECRET, SECRET)
        assert whole.decisions[0].comment == "secret"
        assert journal.load("r1").state == SECRET
        found = journal.claim(claim(2))
        assert found.end == End("failed", SECRET)
    with closing(open_journal(state_url)) as journal, pytest.raises(Incompatible, match="rot"):
        journal.load_whole("r1")


def test_without_a_codec(state_url: str) -> None:
    """Negative control: the same look finds every column that holds a value."""
    leave_secrets(state_url, PlainCodec())
    assert columns_with_it(state_url) == {
        "run.outcome", "step.arguments", "step.result", "call.arguments", "wait.shown", "wait.answer", "inbox.body",
        "decision.comment", "kept.data", "blob.data",
    }  # fmt: skip
