"""Pods as real processes whose journal is on PostgreSQL, by the file that their Secret is mounted as."""

import signal
from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.sdk.conftest import ServePod
from tests.unit.sdk.fleets import Fleet
from tests.unit.sdk.served_pod import until

STEPS = 8


@pytest.mark.case("runs: two pods believe they own a run")
def test_a_stopped_pod_is_fenced_by_the_one_that_took_its_run(
    fleet: Fleet, serve_pod: ServePod, tmp_path: Path
) -> None:
    """A pod that slept through a takeover commits nothing when it wakes, and gives the run back as fenced."""
    (tmp_path / "url").write_text(fleet.url)
    first, second = (serve_pod(uid, PINFLEET_STATE_URL_FILE=str(tmp_path / "url")) for uid in ("pod-1", "pod-2"))
    first.offer("r1", steps=STEPS, seconds=0.1)
    until(lambda: len(first.trace()) == STEPS // 2, "half of the steps")
    first.process.send_signal(signal.SIGSTOP)
    second.offer("r1", 2, steps=STEPS, seconds=0.1, previous={"podUID": "pod-1", "isGone": False})
    assert second.until_listed("succeeded", "r1")["steps"] == STEPS
    first.process.send_signal(signal.SIGCONT)
    first.until_listed("fenced", "r1")

    with closing(fleet.journal()) as journal:
        rows = sorted(journal.load("r1").steps.values(), key=lambda row: row.key.n)
    assert [row.key.n for row in rows] == list(range(1, STEPS + 1))
    assert {row.pod for row in rows if row.epoch == 2} == {"pod-2"}
    assert [row.epoch for row in rows] == sorted(row.epoch for row in rows)
    assert rows[-1].epoch == 2
