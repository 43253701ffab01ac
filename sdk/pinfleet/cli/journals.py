"""Which journal a command reads, and which run of it; shared by the commands that look at recorded runs."""

import argparse
import os
from contextlib import closing
from pathlib import Path
from typing import Final

from pinfleet.errors import BadConfiguration
from pinfleet.journal import opening
from pinfleet.journal.interface import Codec, History, Journal, Records, RunRow

LOCAL: Final = Path(".pinfleet/journal.db")


def add_state(parser: argparse.ArgumentParser) -> None:
    """Declare --state."""
    parser.add_argument(
        "--state",
        default=os.environ.get("PINFLEET_STATE_URL_FILE") or os.environ.get("PINFLEET_STATE_URL") or str(LOCAL),
        help="the journal: a SQLite file, a URL of PostgreSQL, or a file that holds one, so that nobody else reads it "
        f"(PINFLEET_STATE_URL_FILE or PINFLEET_STATE_URL, else {LOCAL})",
    )


def open_journal(state: str, codec: Codec | None = None) -> Journal:
    """Open a journal that is there.

    Args:
        state: What ``--state`` names.
        codec: Of the agent whose runs are read.

    Raises:
        BadConfiguration: There is none.
    """
    return opening.open_journal(url_of(state), codec=codec)


def url_of(state: str) -> str | opening.UrlFile:
    """Return what ``--state`` names: a URL of PostgreSQL, a file that holds one, or a SQLite file.

    Raises:
        BadConfiguration: There is no such file.
    """
    if state.startswith(opening.POSTGRES):
        return state
    path = Path(state.removeprefix("sqlite://")).absolute()
    if not path.is_file():
        raise BadConfiguration(f"there is no journal {path}; --state says where it is")
    with path.open("rb") as file:
        is_url = file.read(len("postgres")) == b"postgres"
    return opening.UrlFile(path) if is_url else str(path)


def read(state: str, words: str, codec: Codec | None = None) -> tuple[RunRow, History]:
    """Return one run by its name or uid, as its code reads it."""
    with closing(open_journal(state, codec)) as journal:
        found = _one(journal, words)
        return found, journal.load(found.uid)


def read_whole(state: str, words: str, codec: Codec | None = None) -> tuple[RunRow, Records]:
    """Return one run by its name or uid, with all that it ever did."""
    with closing(open_journal(state, codec)) as journal:
        found = _one(journal, words)
        return found, journal.load_whole(found.uid)


def open_runs(state: str, codec: Codec | None = None) -> list[tuple[RunRow, History]]:
    """Return the runs that have not ended."""
    with closing(open_journal(state, codec)) as journal:
        return [(run, journal.load(run.uid)) for run in journal.find()]


def _one(journal: Journal, words: str) -> RunRow:
    """Return one run by its name or uid.

    Raises:
        BadConfiguration: There is none, or several have this name.
    """
    found = journal.find(words)
    if not found:
        raise BadConfiguration(f"the journal knows no run {words!r}")
    if len(found) > 1:
        uids = ", ".join(run.uid for run in found)
        raise BadConfiguration(f"{len(found)} runs are named {words!r}; name one by its uid: {uids}")
    return found[0]
