"""A share of seeds, for one process: in a module of its own, so that a process started for it finds it."""

from tests.sim.chaos import live_through
from tests.sim.loop import run_virtual


def live(seeds: range) -> list[tuple[int, list[str], list[str]]]:
    """What each seed's schedule broke, and the schedule."""
    return [(seed, *run_virtual(live_through(seed))) for seed in seeds]
