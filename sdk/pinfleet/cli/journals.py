"""Which journal a command reads, and which run of it; shared by the commands that look at recorded runs."""

import argparse
import os
from contextlib import closing
from pathlib import Path
from typing import Final

from pinfleet.errors import BadConfiguration
from pinfleet.journal.interface import History, Journal, RunRow

LOCAL: Final = Path(".pinfleet/journal.db")


def add_state(parser: argparse.ArgumentParser) -> None:
    """Declare --state."""
    parser.add_argument(
        "--state",
        default=os.environ.get("PINFLEET_STATE_URL") or str(LOCAL),
        help=f"the journal: a file, or a URL as in PINFLEET_STATE_URL (that, else {LOCAL})",
    )


def open_journal(state: str) -> Journal:
    """Open a journal that is there.

    Raises:
        BadConfiguration: There is none.
    """
    from pinfleet.journal.sqlite import SqliteJournal  # noqa: PLC0415 - beside its use

    path = Path(state.removeprefix("sqlite://"))
    if not path.is_file():
        raise BadConfiguration(f"there is no journal {path}; --state says where it is")
    return SqliteJournal(path)


def read(state: str, words: str) -> tuple[RunRow, History]:
    """Return one run by its name or uid.

    Raises:
        BadConfiguration: There is none, or several have this name.
    """
    with closing(open_journal(state)) as journal:
        found = journal.find(words)
        if not found:
            raise BadConfiguration(f"the journal knows no run {words!r}")
        if len(found) > 1:
            uids = ", ".join(run.uid for run in found)
            raise BadConfiguration(f"{len(found)} runs are named {words!r}; name one by its uid: {uids}")
        return found[0], journal.load(found[0].uid)


def open_runs(state: str) -> list[tuple[RunRow, History]]:
    """Return the runs that have not ended."""
    with closing(open_journal(state)) as journal:
        return [(run, journal.load(run.uid)) for run in journal.find()]
