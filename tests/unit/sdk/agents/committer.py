"""A process that claims a run again and again and commits steps as fast as it can, until it is killed.

Arguments: a folder, its own name, the journal's URL. One named ``sleeper`` falls asleep after its first commit, until
the file ``wake`` is there. It prints one line for every step that was committed, after the commit.
"""
# ruff: noqa: T201 - its output is what the test reads

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from pinfleet.identity import StepKey
from pinfleet.journal.interface import Batch, Claim, Journal, Owner, StepRow
from pinfleet.journal.opening import open_journal
from pinfleet.journal.sqlite import SqliteJournal
from pinfleet.rules import from_environment

RUNS = 4
PER_CLAIM = 5
STEPS = 60


def opened(url: str) -> Journal:
    """Open the journal; on SQLite with patience, since several processes commit to one file."""
    rules = from_environment()
    if url.startswith("sqlite:///"):
        return SqliteJournal(Path(url.removeprefix("sqlite:///")), busy_seconds=20.0, rules=rules)
    return open_journal(url, rules=rules)


def main(folder: Path, name: str, url: str) -> None:
    """Compete for the runs until all are complete."""
    journal = opened(url)
    open_runs = {f"r{n}" for n in range(RUNS)}
    epoch = 0
    print("ready", flush=True)
    while not (folder / "go").exists():
        time.sleep(0.001)
    while open_runs:
        for run in sorted(open_runs):
            epoch += 1
            now = datetime.now(UTC)
            claim = Claim(run=run, name=run, epoch=epoch, boot=name, pod=name, version="v1", schema=1, now=now)
            found = journal.claim(claim)
            if found.status == "fenced":
                epoch = found.epoch
                continue
            if advance(journal, run, epoch, name, folder):
                open_runs.discard(run)
    print("complete", flush=True)


def advance(journal: Journal, run: str, epoch: int, name: str, folder: Path) -> bool:
    """Commit the next steps of a run; return whether it has them all."""
    begin = len(journal.load(run).steps)
    for n in range(begin + 1, min(begin + PER_CLAIM, STEPS) + 1):
        now = datetime.now(UTC)
        row = StepRow(
            key=StepKey("", "step", n), kind="step", status="ok", arguments=b"{}", result=f'"{name}-{epoch}"'.encode(),
            manifest="m", attempt=1, begun=now, committed=now,
        )  # fmt: skip
        result = journal.commit(Owner(run, epoch), Batch(steps=(row,)), max_steps=10**9, now=now)
        if result.status != "committed":
            return False
        print(f"{run} {n} {epoch} {name}-{epoch}", flush=True)
        while name == "sleeper" and not (folder / "wake").exists():
            time.sleep(0.001)
    return begin >= STEPS


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
