"""SIGKILL on both sides of every commit, on PostgreSQL; `test_for_real.py` and `make kills` run this file."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from pinfleet.journal.postgres import PostgresJournal
from pinfleet.testing import kill_everywhere
from tests.unit.sdk.fleets import empty
from tests.unit.sdk.test_kill import banks, everything, people, segmented, talk

URL = os.environ["PINFLEET_TEST_POSTGRES"]  # of a prepared schema


@contextmanager
def afresh() -> Iterator[None]:
    """Begin with a journal and with banks that know of nothing."""
    with psycopg.connect(URL, autocommit=True) as db:
        empty(db)
    with banks():
        yield


def on_postgres(_: Path) -> PostgresJournal:
    """Open a pod's journal, in its own process."""
    return PostgresJournal(lambda: URL)


test_a_run_survives_sigkill = kill_everywhere(
    everything(), 1, script=people, around=afresh, journal=on_postgres, sigkill=True
)
test_a_restarted_run_survives_sigkill = kill_everywhere(
    segmented(), 2, script=talk, around=afresh, journal=on_postgres, sigkill=True
)
