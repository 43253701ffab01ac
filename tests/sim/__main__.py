"""Lives through the schedules of seeds and says which break what: ``python -m tests.sim FIRST [COUNT [SECONDS]]``.

One seed is replayed in this process; several are shared out over the cores, or over ``SIM_PROCESSES``. Fewer are tried
if the seconds are over. The order of sets is part of a schedule: Python's hashing is fixed before anything else.
"""

import multiprocessing
import os
import sys
import time
from collections.abc import Iterator

from tests.sim.shares import live

SHARE, SHOWN_EVERY = 5, 100  # seeds at a time for one process; between two lines of progress
FOUND_SHOWN = 6


def main(first: int, count: int, seconds: float) -> int:
    """Return how many seeds broke something."""
    done, failed, began = 0, 0, time.monotonic()
    for seed, found, story in _each(first, count):
        done += 1
        if found:
            failed += 1
            lines = [f"seed {seed}:", *found[:FOUND_SHOWN], "what happened:", *story]
            lines.append(f"replay: .venv/bin/python -m tests.sim {seed}")
            sys.stdout.write("\n".join(lines) + "\n")
        spent = time.monotonic() - began
        if done % SHOWN_EVERY == 0 and done < count:
            rate = done / spent
            sys.stdout.write(f"{done} of {count} seeds, {failed} failed, {rate:.1f} a second; to go on from here: ")
            sys.stdout.write(f"python -m tests.sim {first + done} {count - done}\n")
            sys.stdout.flush()
        if spent > seconds:
            break
    sys.stdout.write(f"{done} seeds from {first}, {failed} failed, {time.monotonic() - began:.1f} s\n")
    return failed


def _each(first: int, count: int) -> Iterator[tuple[int, list[str], list[str]]]:
    processes = int(os.environ.get("SIM_PROCESSES", "0")) or os.cpu_count() or 1
    if count == 1 or processes == 1:
        for seed in range(first, first + count):
            yield from live(range(seed, seed + 1))
        return
    shares = [range(at, min(at + SHARE, first + count)) for at in range(first, first + count, SHARE)]
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for share in pool.imap(live, shares):
            yield from share


def _begin() -> int:
    if os.environ.get("PYTHONHASHSEED") != "0":
        again = [sys.executable, "-m", "tests.sim", *sys.argv[1:]]
        os.execve(sys.executable, again, os.environ | {"PYTHONHASHSEED": "0"})  # noqa: S606 - this very program
    first, *more = sys.argv[1:]
    count, seconds = (*more, *("1", "inf")[len(more) :])
    return main(int(first), int(count), float(seconds))


if __name__ == "__main__":
    sys.exit(1 if _begin() else 0)
