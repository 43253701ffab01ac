"""Pods keep the journal small, a few runs at a time, on both databases."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from pinfleet import clock
from pinfleet.journal import retention
from pinfleet.journal.interface import Batch, Owner
from pinfleet.journal.opening import open_journal
from pinfleet.journal.worker import JournalWorker
from pinfleet.journal.wrapped import WrappedJournal
from tests.unit.sdk.journal_contract import DONE, claim, step

DAY_SECONDS = 86_400.0
OLD = 2 * retention.BATCH_RUNS + 5


class Counting(WrappedJournal):
    """A journal that remembers how many runs each batch deleted."""

    batches: list[int]

    def prune(self, before: datetime, limit: int) -> int:
        """Prune."""
        self.batches.append(super().prune(before, limit))
        return self.batches[-1]


@pytest.fixture
def journal(state_url: str) -> Iterator[Counting]:
    """Runs that ended two days ago, and one that did today."""
    made = Counting(open_journal(state_url))
    made.batches = []
    for n in range(OLD + 1):
        made.claim(claim(1, run=f"r{n}"))
        ended = clock.now().wall - (timedelta(days=2) if n else timedelta())
        made.commit(Owner(f"r{n}", 1), Batch(steps=(step(),), end=DONE), max_steps=9, now=ended)
    yield made
    made.close()


async def test_a_pod_prunes_what_is_over_its_retention(journal: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches, so that steps are not held up by many deletions; what ended later stays."""
    monkeypatch.setattr(retention, "_PERIOD_SECONDS", 0.01)
    monkeypatch.setattr(retention, "_PAUSE_SECONDS", 0.0)
    worker = JournalWorker(journal)
    pruning = asyncio.ensure_future(retention.prune_for_ever(worker, DAY_SECONDS))
    async with asyncio.timeout(20):
        while len(journal.batches) <= OLD // retention.BATCH_RUNS + 1:  # noqa: ASYNC110 - a thread counts
            await asyncio.sleep(0.01)
    pruning.cancel()
    left = await asyncio.wrap_future(
        worker.read(lambda opened: [n for n in range(OLD + 1) if opened.load(f"r{n}").steps])
    )
    worker.close()
    assert journal.batches[:4] == [retention.BATCH_RUNS, retention.BATCH_RUNS, 5, 0]
    assert left == [0]


async def test_without_a_retention_nothing_goes(journal: Counting) -> None:
    """A fleet that does not say how long keeps all."""
    worker = JournalWorker(journal)
    await retention.prune_for_ever(worker, None)
    worker.close()
    assert journal.batches == []
