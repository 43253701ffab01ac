"""The kinds of runs that random schedules create."""

import random
from collections.abc import Callable
from typing import Any, Final

Ask = dict[str, Any]


def _plain(rng: random.Random) -> Ask:
    return {"steps": rng.randint(1, 5), "seconds": rng.choice((0.05, 0.5, 2.0, 6.0, 25.0))}


def _quick(rng: random.Random) -> Ask:
    return {"steps": rng.randint(1, 2), "seconds": rng.choice((0.05, 0.5))}


def _slow(rng: random.Random) -> Ask:
    return {"steps": rng.randint(1, 3), "seconds": 20.0}


def _sleeps(rng: random.Random) -> Ask:
    return _plain(rng) | {"sleep_after": 1, "sleep_seconds": rng.choice((1.0, 4.0, 20.0, 45.0))}


def _receives(rng: random.Random) -> Ask:
    return _quick(rng) | {"receives": rng.randint(1, 3)}


def _fails(rng: random.Random) -> Ask:
    ask = _plain(rng)
    return ask | {"fail_at": ask["steps"]}


def _deadly(rng: random.Random) -> Ask:
    return _plain(rng) | {"die_at": rng.choice((1, 2)), "die_epochs": rng.choice((1, 1, 100))}


def _deaf(rng: random.Random) -> Ask:
    return {"steps": rng.randint(1, 2), "deaf": True, "seconds": rng.choice((20.0, 400.0))}


KINDS: Final[dict[str, Callable[[random.Random], Ask]]] = {
    "plain": _plain,
    "quick": _quick,
    "slow": _slow,
    "sleeps": _sleeps,
    "receives": _receives,
    "fails": _fails,
    "deadly": _deadly,
    "deaf": _deaf,
}
ROUGH: Final = {"deadly", "deaf"}  # they harm others: not where nothing is to fail


def ask(kind: str, rng: random.Random) -> Ask:
    """The input of a run of a kind; its secret must be seen nowhere."""
    return KINDS[kind](rng) | {"secret": "hush"}
