"""A readable trace of what is recorded, a line each; for a developer's terminal, never for a cluster's logs."""

from collections.abc import Callable
from datetime import datetime, timedelta

from pinfleet import clock
from pinfleet.journal.interface import (
    Batch,
    CallRow,
    Claim,
    ClaimResult,
    CommitResult,
    Journal,
    Migration,
    Owner,
    StepRow,
    WaitRow,
)
from pinfleet.journal.wrapped import WrappedJournal

_WIDTH = 100


class TracedJournal(WrappedJournal):
    """A journal that says what is committed through it.

    Args:
        journal: The journal itself.
        say: Is given each line; called in the thread that uses the journal.
    """

    def __init__(self, journal: Journal, say: Callable[[str], None]) -> None:
        super().__init__(journal)
        self._say = say
        self._names: dict[str, str] = {}

    def claim(self, claim: Claim) -> ClaimResult:
        """Take a run; see ``Journal``."""
        result = self._journal.claim(claim)
        self._names[claim.run] = claim.name
        if result.status == "claimed" and not result.continues:
            self._say(f"{claim.name}: goes on after {result.steps} steps" if result.steps else f"{claim.name}: starts")
        if result.end is not None:
            self._say(f"{claim.name}: has ended before, {result.end.state}: {short(result.end.outcome)}")
        return result

    def commit(self, owner: Owner, batch: Batch, *, max_steps: int, now: datetime) -> CommitResult:
        """Commit a batch, and say what was in it; see ``Journal``."""
        result = self._journal.commit(owner, batch, max_steps=max_steps, now=now)
        if result.status == "committed":
            for line in lines_of(batch, now):
                self._say(f"{self._names.get(owner.run, owner.run)}: {line}")
        return result

    def migrate(self, owner: Owner, migration: Migration) -> CommitResult:
        """Take a run to another schema, and say so."""
        result = self._journal.migrate(owner, migration)
        if result.status == "committed":
            said = f"{len(migration.steps)} rows written, {len(migration.dropped)} dropped"
            name = self._names.get(owner.run, owner.run)
            self._say(f"{name}: migrated from schema {migration.schema} to {migration.to}, {said}")
        return result

    def close(self) -> None:
        """Let the database go."""
        self._journal.close()


def lines_of(batch: Batch, now: datetime) -> list[str]:
    """Say what a batch records."""
    lines = [_call(row) for row in batch.calls]
    lines += [_step(row) for row in batch.steps if row.is_counted]
    lines += [_wait(row, now) for row in batch.waits]
    lines += [f"message {row.id}: {short(row.body)}" for row in batch.inbox if row.taken_by is None]
    lines += [f"{row.decision} by {row.by}" + (f": {row.comment}" if row.comment else "") for row in batch.decisions]
    if batch.restart is not None:
        lines.append(f"begins a new segment with {short(batch.restart)}")
    if batch.parks:
        lines.append("parked: it holds no pod until it wakes")
    if batch.end is not None:
        lines.append(f"{batch.end.state}: {short(batch.end.outcome)}")
    return lines


def _step(row: StepRow) -> str:
    took = (row.committed - row.begun).total_seconds()
    return f"{row.kind} {row.key} {row.status} in {took:.2f} s: {short(row.arguments)} -> {short(row.result)}"


def _call(row: CallRow) -> str:
    return f"tool {row.key} is about to be called, attempt {row.attempt}, key {row.idempotency_key}"


def _wait(row: WaitRow, now: datetime) -> str:
    if row.answer is not None:
        return f"{row.kind.lower()} {row.key} is over: {short(row.answer)}"
    until = f" until {row.until:%Y-%m-%d %H:%M:%S} UTC, {_length(row.until - now)}" if row.until else ""
    shown = f", shown: {short(row.shown)}" if row.shown else ""
    return f"waits: {row.kind.lower()} {row.key}{until}{shown}"


def short(text: bytes) -> str:
    """The beginning of a JSON text, on one line."""
    words = text.decode("utf-8", "replace").replace("\n", " ")
    return words if len(words) <= _WIDTH else words[: _WIDTH - 3] + "..."


def _length(left: timedelta) -> str:
    seconds = max(left.total_seconds(), 0.0)
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def stamp() -> str:
    """The time of day, for a line of a trace."""
    return f"{clock.now().wall:%H:%M:%S}"
