"""``pinfleet-agent conform URL``: is this a correct pod of the run contract, in whatever language?"""

import argparse
import os
from typing import Any


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "conform",
        help="hold a running container to the run contract; drains it at the end",
        description="Holds a container to the run contract. Use one that no operator calls: it is drained at the end.",
    )
    parser.add_argument("url", help="where it listens, such as http://127.0.0.1:8080")
    parser.add_argument("--token", default=os.environ.get("PINFLEET_TOKEN", ""), help="a token of its token file")
    parser.add_argument("--pod", default="pod-1", help="its PINFLEET_POD_UID (pod-1)")
    parser.add_argument("--version", default="v1", help="its PINFLEET_VERSION (v1)")
    parser.add_argument("--short", default="null", help="JSON of an input whose run ends by itself within seconds")
    parser.add_argument("--long", default="null", help="JSON of an input whose run goes on until it is ended")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds to wait for what must happen (30)")
    parser.add_argument("--no-journal", action="store_true", help="it keeps no journal: runs are served at least once")
    parser.set_defaults(run_command=run)


def run(asked: argparse.Namespace) -> int:
    """Ask; the exit code is 1 if a sentence is broken."""
    from pinfleet.conform import Question, conform  # noqa: PLC0415 - serving a pod needs none of it

    question = Question(
        url=asked.url,
        token=asked.token,
        uid=asked.pod,
        version=asked.version,
        short=asked.short,
        long=asked.long,
        patience=asked.patience,
        has_journal=not asked.no_journal,
    )
    return 1 if conform(question) else 0
