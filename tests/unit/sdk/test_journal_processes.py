"""One journal under several real processes that are killed at any moment, on each database."""

import os
import subprocess
import sys
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import pytest

from pinfleet.journal.opening import open_journal
from tests.unit.sdk.served_pod import AGENTS, until

RUNS, STEPS = 4, 60
Said = dict[tuple[str, int], list[tuple[int, str]]]  # (run, n) -> (epoch, result) as told after its commit


def compete(folder: Path, url: str, *, kills: int = 0, off: str = "", sleeper: bool = False) -> Said:
    """Let processes fight over the runs and return what they said that they committed.

    Args:
        folder: Of what they say, and of the signs that they wait for.
        url: Of the journal.
        kills: How many of them are killed while they commit; each is replaced.
        off: Rules that are taken out.
        sleeper: Whether another one falls asleep inside its first claim, and wakes once all runs are complete.
    """
    outputs: list[Path] = []
    processes: list[subprocess.Popen[bytes]] = []

    def start(name: str = "") -> None:
        output = folder / f"out-{len(outputs)}"
        outputs.append(output)
        with output.open("w") as file:
            command = [
                sys.executable,
                str(AGENTS / "committer.py"),
                str(folder),
                name or f"p{len(outputs)}",
                url,
            ]
            processes.append(subprocess.Popen(command, stdout=file, env=os.environ | {"PINFLEET_UNSAFE_OFF": off}))

    def said() -> int:
        return sum(output.read_text().count("\n") for output in outputs)

    try:
        if sleeper:
            (folder / "go").touch()
            start("sleeper")
            until(lambda: said() == 2, "the sleeper's first commit")
        for _ in range(3):
            start()
        until(lambda: said() >= 3, "the processes")
        (folder / "go").touch()
        for kill in range(kills):
            until(lambda enough=3 + (kill + 1) * 40: said() >= enough, "commits")
            processes[kill].kill()
            processes[kill].wait()
            start()
        for process in processes[kills + sleeper :]:
            assert process.wait(60) == 0
        (folder / "wake").touch()
        for process in processes[kills:]:
            assert process.wait(60) == 0
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return _said(outputs)


def _said(outputs: list[Path]) -> Said:
    """Read what the processes said after their commits."""
    committed: Said = defaultdict(list)
    for output in outputs:
        for line in output.read_text().splitlines():
            if line.count(" ") == 3:
                run, n, epoch, result = line.split()
                committed[run, int(n)].append((int(epoch), result))
    return committed


def check(url: str, committed: Said) -> None:
    """INV-3 and INV-4 on the journal and on what was said."""
    with closing(open_journal(url)) as journal:
        rows_of = [journal.load(f"r{n}").steps.values() for n in range(RUNS)]
    for n, found in enumerate(rows_of):
        rows = sorted(found, key=lambda row: row.key.n)
        assert [row.key.n for row in rows] == list(range(1, STEPS + 1))
        epochs = [row.epoch for row in rows]
        assert epochs == sorted(epochs), "a step was committed with an older epoch after a newer one"
        for row in rows:
            told = committed.get((f"r{n}", row.key.n), [])
            assert len(told) <= 1, f"committed twice: {told}"
            assert all(result == row.result.decode().strip('"') for _, result in told), "a recorded result changed"


def test_killed_processes_double_nothing(tmp_path: Path, state_url: str) -> None:
    """INV-3, INV-4: with processes killed mid-commit, every step is committed once, under rising epochs."""
    check(state_url, compete(tmp_path, state_url, kills=3))


def test_sleeper_commits_nothing_stale(tmp_path: Path, state_url: str) -> None:
    """INV-3: a process that slept through its successors' claims is fenced when it wakes."""
    check(state_url, compete(tmp_path, state_url, sleeper=True))


def test_without_the_fence(tmp_path: Path, state_url: str) -> None:
    """Negative control: without the fence the same check finds what the sleeper committed."""
    committed = compete(tmp_path, state_url, off="fence", sleeper=True)
    with pytest.raises(AssertionError):
        check(state_url, committed)
