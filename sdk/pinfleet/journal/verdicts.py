"""What a claim or a refused batch amounts to, from what the database held; pure, and the same on every database."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pinfleet.journal.interface import Batch, Claim, ClaimResult, CommitResult, End, Owner
from pinfleet.rules import Rules


@dataclass(frozen=True, slots=True)
class RunState:
    """The run's row."""

    epoch: int
    boot: str
    state: str
    steps: int
    tokens: int
    end: End | None
    partial: bytes | None


def judge_claim(claim: Claim, before: RunState | None, *, won: bool, rules: Rules) -> ClaimResult:
    """Say what became of a claim.

    Args:
        claim: What was asked.
        before: The row as it was, in the transaction of the claim; None: there was none.
        won: Whether the row now is the claim's.
        rules: All of them, but in a negative control.
    """
    if before is None:
        return ClaimResult("claimed", claim.epoch)
    counts: dict[str, Any] = {"steps": before.steps, "tokens": before.tokens, "partial": before.partial}
    if won:
        is_held = before.epoch == claim.held and before.boot == claim.boot and before.state == "running"
        return ClaimResult("claimed", claim.epoch, continues=is_held, **counts)
    if before.end is not None and rules.terminal_answer:
        return ClaimResult("ended", before.epoch, before.steps, before.end)
    if before.epoch != claim.epoch or (before.boot != claim.boot and rules.boot):
        return ClaimResult("fenced", before.epoch, before.steps)
    if before.state == "parked":
        return ClaimResult("parked", claim.epoch, before.steps)
    return ClaimResult("claimed", claim.epoch, continues=claim.held == claim.epoch, **counts)


def why_not(
    owner: Owner, batch: Batch, max_steps: int, run: RunState | None, recorded: Sequence[tuple[int, int] | None]
) -> CommitResult:
    """Say why a batch was refused; it may be one whose COMMIT had no answer, and that is durable.

    Args:
        owner: Who asked.
        batch: For what.
        max_steps: Under which bound.
        run: As it is now; None: nobody claimed it.
        recorded: Epoch and attempt of the row that stands for each of the batch's steps, in order.
    """
    if run is None:
        return CommitResult("fenced", 0, 0)
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
