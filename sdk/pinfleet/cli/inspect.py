"""``pinfleet-agent inspect RUN``: what a run did, as a table: steps, calls, approvals, messages, timers."""

import argparse
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from pinfleet.cli import journals
from pinfleet.cli.run import load
from pinfleet.journal.interface import CallRow, Records, RunRow, StepRow, WaitRow

_WIDTH = 60


class Line(NamedTuple):
    """One line of the table."""

    at: datetime
    kind: str
    what: str
    state: str
    where: str  # epoch and pod
    detail: str


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Declare the command."""
    parser = commands.add_parser("inspect", help="show what a run did: steps, calls, approvals, messages, timers")
    parser.add_argument("run", nargs="?", default="", help="name or uid; without it, the open runs")
    parser.add_argument(
        "--app", default="", help="a file such as app.py, if its agent has a codec that seals the values"
    )
    journals.add_state(parser)
    parser.set_defaults(run_command=run)


def run(asked: argparse.Namespace) -> int:
    """Print the tables."""
    codec = load(asked.app).codec if asked.app else None
    if not asked.run:
        for row, _ in journals.open_runs(asked.state, codec):
            sys.stdout.write(heading(row) + "\n")
        return 0
    row, records = journals.read_whole(asked.state, asked.run, codec)
    sys.stdout.write(heading(row) + "\n")
    lines = sorted(lines_of(records))
    cells = [("AT", "KIND", "WHAT", "STATE", "EPOCH/POD", "")]
    cells += [(f"{each.at:%m-%d %H:%M:%S}", *each[1:]) for each in lines]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]) - 1)]
    for cell in cells:
        padded = (text.ljust(width) for text, width in zip(cell, widths, strict=False))
        sys.stdout.write("  ".join([*padded, cell[-1]]).rstrip() + "\n")
    return 0


def heading(row: RunRow) -> str:
    """Say in a line which run it is."""
    steps = "1 step" if row.steps == 1 else f"{row.steps} steps"
    tokens = f", {row.tokens} tokens" if row.tokens else ""
    schema = f", schema {row.schema}" if row.schema > 1 else ""
    segment = f", segment {row.segment}" if row.segment > 1 else ""
    outcome = f", {_short(row.outcome)}" if row.outcome else ""
    return f"run {row.name}, version {row.version}, {row.state}, {steps}{tokens}{schema}{segment}{outcome}"


def lines_of(records: Records) -> Iterator[Line]:
    """The lines of a run's table, in no order."""
    answered = {step.key for step in records.steps}
    yield from map(_step, records.steps)
    yield from (_call(call) for call in records.calls if call.key not in answered)
    yield from map(_wait, records.waits)
    for message in records.inbox:
        taken = f"taken by {message.taken_by}" if message.taken_by else "not taken"
        yield Line(message.received, "message", message.id, taken, "", _short(message.body))
    for made in records.decisions:
        via = f" via {made.via}" if made.via else ""
        yield Line(made.at, "decision", made.request_hash[:12], made.decision, "", f"by {made.by}{via} {made.comment}")


def _step(row: StepRow) -> Line:
    took = (row.committed - row.begun).total_seconds()
    detail = f"{_short(row.arguments)} -> {_short(row.result)} in {took:.2f} s"
    return Line(row.committed, row.kind, str(row.key), row.status, f"{row.epoch} {row.pod}", detail)


def _call(row: CallRow) -> Line:
    detail = f"attempt {row.attempt}, key {row.idempotency_key}, policy {row.policy}"
    return Line(row.begun, "call", str(row.key), "no answer", f"{row.epoch} {row.pod}", detail)


def _wait(row: WaitRow) -> Line:
    until = f"until {row.until:%Y-%m-%d %H:%M:%S}" if row.until else ""
    shown = f" shown {_short(row.shown)}" if row.shown else ""
    asked = f" hash {row.request_hash[:12]}" if row.request_hash else ""
    state = "open" if row.answer is None else _short(row.answer)
    return Line(row.since, row.kind.lower(), str(row.key), state, "", f"{until}{shown}{asked}".strip())


def _short(text: bytes) -> str:
    words = text.decode("utf-8", "replace").replace("\n", " ")
    return words if len(words) <= _WIDTH else words[: _WIDTH - 3] + "..."
