"""One journal file under several real processes that are killed at any moment."""

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from pinfleet.journal.sqlite import SqliteJournal
from tests.unit.sdk.served_pod import AGENTS, until

RUNS, STEPS = 4, 150
Said = dict[tuple[str, int], list[tuple[int, str]]]  # (run, n) -> (epoch, result) as told after its commit


def compete(folder: Path, *, kills: int, off: str = "") -> Said:
    """Let three processes fight over the runs, kill some, and return what they said that they committed."""
    outputs: list[Path] = []
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        output = folder / f"out-{len(outputs)}"
        outputs.append(output)
        with output.open("w") as file:
            command = [sys.executable, str(AGENTS / "committer.py"), str(folder / "journal.db"), f"p{len(outputs)}"]
            processes.append(subprocess.Popen(command, stdout=file, env=os.environ | {"PINFLEET_UNSAFE_OFF": off}))

    def said() -> int:
        return sum(output.read_text().count("\n") for output in outputs)

    for _ in range(3):
        start()
    until(lambda: said() == 3, "three processes")
    (folder / "go").touch()
    for kill in range(kills):
        until(lambda enough=3 + (kill + 1) * 100: said() >= enough, "commits")  # type: ignore[misc]
        processes[kill].kill()
        processes[kill].wait()
        start()
    for process in processes[kills:]:
        assert process.wait(60) == 0
    committed: Said = defaultdict(list)
    for output in outputs:
        for line in output.read_text().splitlines():
            if line.count(" ") == 3:
                run, n, epoch, result = line.split()
                committed[run, int(n)].append((int(epoch), result))
    return committed


def check(folder: Path, committed: Said) -> None:
    """INV-3 and INV-4 on the journal and on what was said."""
    journal = SqliteJournal(folder / "journal.db")
    for n in range(RUNS):
        rows = sorted(journal.load(f"r{n}").steps.values(), key=lambda row: row.key.n)
        assert [row.key.n for row in rows] == list(range(1, STEPS + 1))
        epochs = [row.epoch for row in rows]
        assert epochs == sorted(epochs), "a step was committed with an older epoch after a newer one"
        for row in rows:
            told = committed.get((f"r{n}", row.key.n), [])
            assert len(told) <= 1, f"committed twice: {told}"
            assert all(result == row.result.decode().strip('"') for _, result in told), "a recorded result changed"
    journal.close()


def test_killed_processes_double_nothing(tmp_path: Path) -> None:
    """INV-3, INV-4: with processes killed mid-commit, every step is committed once, under rising epochs."""
    check(tmp_path, compete(tmp_path, kills=3))


def test_without_the_fence(tmp_path: Path) -> None:
    """Negative control: without the fence the same check finds doubled or stale commits."""
    with pytest.raises(AssertionError):
        check(tmp_path, compete(tmp_path, kills=0, off="fence"))
