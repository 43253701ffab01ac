"""``pinfleet-agent``: what an agent image runs, and what its author uses beside it. One module for each command."""

import argparse
import sys
from typing import Final

from pinfleet.cli import check, conform, db, erase, inspect, run, serve
from pinfleet.errors import AgentError

_USAGE: Final = 2


def main(argv: list[str] | None = None) -> int:
    """Run a command; return its exit code."""
    parser = argparse.ArgumentParser(prog="pinfleet-agent", description="Serves an agent's runs, and looks after them.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (serve, run, inspect, check, conform, db, erase):
        command.add(commands)
    asked = parser.parse_args(argv)
    try:
        code: int = asked.run_command(asked)
    except AgentError as err:
        print(f"pinfleet-agent: {err}", file=sys.stderr)  # noqa: T201 - a command says why it ends
        return _USAGE
    return code
