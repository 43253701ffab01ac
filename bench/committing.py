"""The rows that `journal` commits: of the size of a small step."""

from datetime import UTC, datetime
from typing import Literal

from pinfleet.identity import StepKey
from pinfleet.journal.interface import CallRow, Claim, StepRow

DONE_AT = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
ARGUMENTS = b'{"order_id":"o-123456"}'


def claim(run: str, epoch: int = 1, boot: str = "boot-1") -> Claim:
    """A claim by the bench's pod."""
    return Claim(run=run, name=run, epoch=epoch, boot=boot, pod="pod-1", version="v1", schema=1, now=DONE_AT)


def step(n: int, *, kind: Literal["step", "tool"] = "step") -> StepRow:
    """A step's row."""
    return StepRow(
        key=StepKey("", "work", n), kind=kind, status="ok", arguments=ARGUMENTS, result=b'"' + b"x" * 100 + b'"',
        manifest="0123456789abcdef", attempt=n, begun=DONE_AT, committed=DONE_AT,
    )  # fmt: skip


def intent(n: int) -> CallRow:
    """A tool's call before it is sent."""
    return CallRow(
        key=StepKey("", "work", n), idempotency_key=f"key-{n}", policy="resend", attempt=1, arguments=ARGUMENTS,
        begun=DONE_AT, first_sent=DONE_AT, sent=DONE_AT,
    )  # fmt: skip
