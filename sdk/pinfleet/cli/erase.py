"""``pinfleet-agent erase RUN``: what a run held goes; that it ended stays, so that no offer runs it again."""

import argparse
from typing import Any

from pinfleet.cli.journals import add_state, open_journal


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Declare the command."""
    parser = commands.add_parser("erase", help="delete all that an ended run left in the journal")
    parser.add_argument("run_uid", metavar="RUN", help="uid of the run (metadata.uid of the AgentRun)")
    add_state(parser)
    parser.set_defaults(run_command=run)


def run(asked: argparse.Namespace) -> int:
    """Erase; the exit code is 1 if there is no such ended run."""
    journal = open_journal(asked.state)
    is_erased = journal.erase(asked.run_uid)
    journal.close()
    said = "is erased" if is_erased else "is not erased: the journal has no ended run of that uid; cancel it first"
    print(f"run {asked.run_uid} {said}")  # noqa: T201 - a command says what it did
    return 0 if is_erased else 1
