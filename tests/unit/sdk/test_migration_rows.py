"""What a migration makes of recorded rows, and how it is declared; nothing is executed here."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

import pinfleet as sdk
from pinfleet import values
from pinfleet.errors import BadDeclaration
from pinfleet.identity import StepKey
from pinfleet.journal.interface import CallRow, History, Migration, StepRow, StepStatus, WaitRow
from pinfleet.migration import Migrate, MigrationSpec, Recorder, applied, migrated

NOW = datetime(2026, 1, 2, tzinfo=UTC)
BY = Recorder("r1", "run", b'"o-1"', "m", NOW)


def row(name: str, *, status: StepStatus = "ok", result: bytes = b"1") -> StepRow:
    """Return a recorded tool's row."""
    return StepRow(
        key=StepKey("", name, 1), kind="tool", status=status, arguments=b"{}", result=result, manifest="m", attempt=1,
        begun=NOW, committed=NOW, version="v1", epoch=1,
    )  # fmt: skip


def changes(history: History, migrate: Migrate) -> Migration:
    """Return what a migration makes of a history."""
    return migrated(history, [MigrationSpec(1, 2, migrate)], {}, BY)


def test_a_call_under_way_is_carried() -> None:
    """A call without an answer is none of a migration's steps; it keeps its key, and what a person was asked."""
    pending = StepKey("", "pay", 1)
    call = CallRow(
        key=pending, idempotency_key="key-1", policy="resend", attempt=1, arguments=b"{}", begun=NOW
    )  # fmt: skip
    wait = WaitRow(key=pending, kind="Approval", since=NOW, until=None, request_hash="h")
    before = History(steps={row("find").key: row("find")}, calls={pending: call}, waits={pending: wait}, schema=1)
    made = changes(before, lambda run: run.drop(run.steps[0]))
    after = applied(before, made)
    assert (after.steps, after.calls, after.waits) == ({}, {pending: call}, {pending: wait})


def test_nothing_is_written_for_what_stays() -> None:
    """A migration that changes nothing writes only that it ran, whatever scalars and hashes the rows hold."""
    args = values.arguments({"at": NOW, "long": "a" * 5_000}, "find")
    kept = replace(row("find", result=values.encode({"at": NOW, "$": 1}, "find")), arguments=args)
    made = changes(History(steps={kept.key: kept}, schema=1), lambda _: None)
    assert (made.steps, made.replaced, made.dropped, made.state) == ((), (), (), None)
    assert [ran.key for ran in made.ran] == [StepKey("%1", "ctx.migration", 1)]


@pytest.mark.parametrize("status", ["unknown", "failed"])
def test_a_migration_settles_no_doubt(status: StepStatus) -> None:
    """What failed, or is in doubt, stays so: a migration knows no more about it."""
    recorded = row("pay", status=status, result=b'{"type":"OutcomeUnknown","message":"?"}')

    def settle(run: sdk.RecordedRun) -> None:
        run.steps[0].result = "paid"

    with pytest.raises(sdk.Incompatible, match=f"pay#1 is {status}; a migration gives it no other outcome"):
        changes(History(steps={recorded.key: recorded}, schema=1), settle)


def nothing(run: sdk.RecordedRun) -> None:
    """Change nothing."""


@pytest.mark.parametrize(
    ("from_", "to", "said"),
    [
        (2, 2, "it must go up"),
        (0, 1, "it must go up"),
        (1, 3, "to at most Agent"),
        (1, 2, "two migrations from schema 1"),
    ],
)
def test_a_migration_is_checked_at_import(from_: int, to: int, said: str) -> None:
    """A migration goes up, to a schema that the agent has, and there is one way."""
    agent = sdk.Agent("shop", schema=2)
    agent.migration(from_=1, to=2)(nothing)
    with pytest.raises(BadDeclaration, match=said):
        agent.migration(from_=from_, to=to)(nothing)


def test_a_migration_is_a_plain_function() -> None:
    """A coroutine function, or one that takes more than the run, is refused by name."""

    async def slow(run: sdk.RecordedRun) -> None: ...

    def two(run: sdk.RecordedRun, more: int) -> None: ...

    agent = sdk.Agent("shop", schema=2)
    with pytest.raises(BadDeclaration, match="must be a plain function"):
        agent.migration(from_=1, to=2)(slow)  # type: ignore[arg-type]
    with pytest.raises(BadDeclaration, match="must take the recorded run alone"):
        agent.migration(from_=1, to=2)(two)  # type: ignore[arg-type]
