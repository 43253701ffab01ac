"""Pods keep the journal small: what runs did goes once their retention is over, a few runs at a time.

Every pod of a fleet does it, at times of its own; who comes second finds nothing left. ``pinfleet-agent db prune`` does
the same by hand, such as for a fleet that is gone.
"""

import asyncio
import logging
import random
from datetime import timedelta
from typing import Final

from pinfleet import clock
from pinfleet.errors import JournalError
from pinfleet.journal.worker import JournalWorker

_LOG: Final = logging.getLogger("pinfleet.journal")
BATCH_RUNS: Final = 10
_PERIOD_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.5  # between two batches: steps go first


async def prune_for_ever(worker: JournalWorker, retention_seconds: float | None) -> None:
    """Prune now and then, until cancelled.

    Args:
        worker: The pod's journal.
        retention_seconds: How long after a run's end; None: for ever, and nothing is done.
    """
    while retention_seconds is not None:
        await asyncio.sleep(_PERIOD_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - only to be apart from others
        try:
            await prune(worker, timedelta(seconds=retention_seconds))
        except JournalError as err:
            _LOG.warning("cannot prune the journal", extra={"cause": str(err)})


async def prune(worker: JournalWorker, retention: timedelta) -> int:
    """Delete what runs did whose retention is over; return of how many."""
    before, pruned = clock.now().wall - retention, 0
    while True:
        found = await asyncio.wrap_future(worker.submit(lambda journal: journal.prune(before, BATCH_RUNS)))
        pruned += found
        if found < BATCH_RUNS:
            break
        await asyncio.sleep(_PAUSE_SECONDS)
    if pruned:
        _LOG.info("journal pruned", extra={"runs": pruned})
    return pruned
