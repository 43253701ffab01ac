"""A share of seeds, for one process: in a module of its own, so that a process started for it finds it."""

from tests.sim.chaos import live_through
from tests.sim.loop import DeadlockError, LivelockError, run_virtual


def live(seeds: range) -> list[tuple[int, list[str], list[str]]]:
    """What each seed's schedule broke, and the schedule."""
    return [(seed, *_lived(seed)) for seed in seeds]


def _lived(seed: int) -> tuple[list[str], list[str]]:
    try:
        return run_virtual(live_through(seed))
    except (DeadlockError, LivelockError) as err:
        return [f"{type(err).__name__}: {err.__doc__}"], []
