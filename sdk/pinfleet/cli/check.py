"""``pinfleet-agent check`` and ``replay``: recorded runs against this code, with execution off."""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any, Final

from pinfleet.cli import journals
from pinfleet.cli.run import load
from pinfleet.errors import BadConfiguration
from pinfleet.journal.interface import History, RunRow, StepRow
from pinfleet.moving import rehearsed
from pinfleet.rehearsal import Rehearsal, Verdict
from pinfleet.reports import Assignment

_INCOMPATIBLE: Final = 1


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Declare both commands."""
    check = commands.add_parser(
        "check",
        help="do open runs go on with this code? nothing is executed but code outside of steps",
        description="Replays recorded runs against this code; exits with 1 if one cannot go on with it.",
    )
    check.add_argument("app", help="a file such as app.py, or module:attribute")
    check.add_argument("runs", nargs="*", help="names or uids; without them, all open runs")
    check.add_argument("--inputs", type=Path, help="a JSON file: inputs by run name; the journal does not hold them")
    check.add_argument("--input", default="null", help="JSON of the input of runs that --inputs does not name")
    journals.add_state(check)
    check.set_defaults(run_command=run_check)

    replay = commands.add_parser("replay", help="let this code read a run's recorded steps again, up to one of them")
    replay.add_argument("app", help="a file such as app.py, or module:attribute")
    replay.add_argument("run", help="name or uid")
    replay.add_argument("--until", default="", metavar="STEP", help="the last step to read, such as find_order#1")
    replay.add_argument("--input", default="null", help="JSON of the run's input")
    journals.add_state(replay)
    replay.set_defaults(run_command=run_replay)


def run_check(asked: argparse.Namespace) -> int:
    """Say of each run whether it goes on."""
    agent = load(asked.app)
    inputs: dict[str, Any] = json.loads(asked.inputs.read_text()) if asked.inputs else {}
    named = [journals.read(asked.state, name, agent.codec) for name in asked.runs]
    found = named or journals.open_runs(asked.state, agent.codec)
    verdicts = [
        _said(row, _rehearsed(agent, row, history, json.dumps(inputs[row.name]) if row.name in inputs else asked.input))
        for row, history in found
    ]
    broken = sum(1 for verdict in verdicts if verdict.kind == "incompatible")
    sys.stdout.write(f"{len(verdicts)} runs checked, {broken} cannot go on with this code\n")
    return _INCOMPATIBLE if broken else 0


def run_replay(asked: argparse.Namespace) -> int:
    """Print the recorded steps as the code reads them."""
    agent = load(asked.app)
    row, history = journals.read(asked.state, asked.run, agent.codec)
    steps = {str(key) for key in history.steps}
    if asked.until and asked.until not in steps:
        raise BadConfiguration(
            f"run {row.name} has no step {asked.until!r}; it has {', '.join(sorted(steps)) or 'none'}"
        )

    def read(step: StepRow) -> bool:
        sys.stdout.write(f"{step.key} {step.status}: {step.arguments.decode()} -> {step.result.decode()}\n")
        return str(step.key) == str(asked.until)

    rehearsal = Rehearsal(agent, uid=row.uid, name=row.name, given=asked.input.encode(), history=history, on_read=read)
    verdict = asyncio.run(rehearsal.rehearse())
    if asked.until and verdict.kind != "incompatible":
        return 0
    return _INCOMPATIBLE if _said(row, verdict).kind == "incompatible" else 0


def _rehearsed(agent: Any, row: RunRow, history: History, given: str) -> Verdict:
    run = Assignment(uid=row.uid, name=row.name, epoch=row.epoch, input=given.encode(), max_steps=row.steps)
    return asyncio.run(rehearsed(agent, run, history))[0]


def _said(row: RunRow, verdict: Verdict) -> Verdict:
    sys.stdout.write(f"{row.name}: {verdict.kind}{':' if verdict.kind == 'incompatible' else ''} {verdict.why}\n")
    return verdict
