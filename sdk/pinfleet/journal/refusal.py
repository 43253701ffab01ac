"""Why a batch was refused, from what the database holds afterwards; pure, and the same on every database."""

from collections.abc import Sequence
from dataclasses import dataclass

from pinfleet.journal.interface import Batch, CommitResult, End, Owner


@dataclass(frozen=True, slots=True)
class RunState:
    """The run's row, read after a batch was refused."""

    epoch: int
    state: str
    steps: int
    tokens: int
    end: End | None
    partial: bytes | None


def why_not(
    owner: Owner, batch: Batch, max_steps: int, run: RunState, recorded: Sequence[tuple[int, int] | None]
) -> CommitResult:
    """Say why; the batch may be one whose COMMIT had no answer, and that is durable.

    Args:
        owner: Who asked.
        batch: For what.
        max_steps: Under which bound.
        run: As it is now.
        recorded: Epoch and attempt of the row that stands for each of the batch's steps, in order.
    """
    if _is_there(owner, batch, run, recorded):
        return CommitResult("committed", run.epoch, run.steps, run.end, run.tokens)
    if run.epoch != owner.epoch or run.state != "running":
        return CommitResult("fenced", run.epoch, run.steps, run.end)
    if any(row is not None for row in recorded):
        return CommitResult("taken", run.epoch, run.steps)
    if run.steps + batch.counted > max_steps:
        return CommitResult("limit", run.epoch, run.steps, None, run.tokens, run.partial)
    return CommitResult("fenced", run.epoch, run.steps)


def _is_there(owner: Owner, batch: Batch, run: RunState, recorded: Sequence[tuple[int, int] | None]) -> bool:
    """Whether this very batch is durable: known by (identity, epoch, attempt), by its end, by its park."""
    if batch.end is not None:
        return run.epoch == owner.epoch and run.end == batch.end
    if batch.parks:
        return run.epoch == owner.epoch and run.state == "parked"
    mine = [(owner.epoch, step.attempt) for step in batch.steps]
    return bool(mine) and list(recorded) == mine
