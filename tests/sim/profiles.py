"""What a schedule is mostly about: most races need much of one kind of misfortune. The seed chooses."""

import random
from dataclasses import dataclass, field
from typing import Any, Final

from tests.sim.net import Odds

SLOW = Odds(is_slow=0.3)
UNSURE = Odds(loses_reply=0.1, is_late=0.4)


@dataclass(frozen=True)
class Profile:
    """One kind of schedule; what it does not name is as in `USUAL`."""

    name: str
    deeds: dict[str, int] = field(default_factory=dict)  # weights, see deeds.Deeds
    runs: dict[str, int] = field(default_factory=dict)  # weights of kinds of runs, see runs.ask
    only: bool = False  # deeds that are not named do not happen
    pace_seconds: float = 2.5  # mean time between two deeds
    rates: tuple[float, ...] = (0.0, 0.02, 0.1, 0.2)  # of each fault of a call, one for a schedule
    lengths: float = 1.0  # times as many deeds as usual
    most_versions: int = 3
    hot: dict[str, Odds] = field(default_factory=dict)  # calls with odds of their own
    nods: float = 0.0  # odds that the leader is stopped right before a write to a pod
    near: float = 0.2  # odds of a deed right when something happens that it may race with, see near.Near
    shape: dict[str, Any] = field(default_factory=dict)  # of the fleet
    settings: dict[str, Any] = field(default_factory=dict)  # of the operator
    is_rough: bool = True  # else only users act, and nothing fails


USUAL: Final = Profile(
    "mixed",
    deeds={
        "start": 30, "cancel": 7, "delete": 3, "send": 5, "deploy": 7, "revert": 2, "pause": 2, "edit": 2,
        "pod crash": 6, "pod evicted": 4, "pod vanished": 3, "pod cut": 4, "node lost": 3, "node burnt": 2,
        "container restarted": 2, "pod clock": 4, "operator crash": 6, "operator asleep": 4, "operator cut": 3,
        "fleet watch hangs": 3, "etcd restored": 2,
    },
    runs={"plain": 40, "sleeps": 25, "receives": 10, "fails": 7, "deadly": 10, "deaf": 8},
)  # fmt: skip

PROFILES: Final = (
    USUAL,
    Profile("calm", lengths=0.7, is_rough=False),
    Profile(
        "switches",
        deeds={"start": 20, "deploy": 2, "revert": 2, "pause": 1, "operator crash": 1},
        runs={"quick": 8, "plain": 1, "sleeps": 1},
        only=True,
        pace_seconds=1.0,
        rates=(0.0, 0.02),
        most_versions=9,
        hot={"patch agentdeployments": UNSURE, "patch agentruns": Odds(is_slow=0.3, slow_seconds=9.0)},
        near=0.6,
    ),
    Profile(
        "leaders",
        deeds={
            "start": 5, "burst": 10, "cancel": 2, "deploy": 4, "operator crash": 5, "operator asleep": 10,
            "fleet watch hangs": 3, "pod cut": 8,
        },
        runs={"quick": 4, "plain": 3, "slow": 2, "sleeps": 1, "deaf": 1},
        only=True,
        hot={"patch pods": UNSURE, "delete pods": UNSURE},
        lengths=0.4,
        nods=0.5,
        shape={"replicas": 1, "runsPerPod": 1},
        settings={"empty_seconds": 5},
    ),
    Profile(
        "pods",
        deeds={"start": 20, "delete": 6, "cancel": 2, "pod crash": 6, "pod vanished": 6, "pod cut": 8, "node lost": 2,
               "node burnt": 6, "container restarted": 8, "pod evicted": 3, "deploy": 2},
        only=True,
        settings={"empty_seconds": 5},
    ),
    Profile(
        "deaths",
        deeds={"start": 15, "pod evicted": 10, "pod crash": 8, "pod vanished": 3, "container restarted": 2},
        runs={"plain": 5, "deadly": 3, "sleeps": 1},
        only=True,
        pace_seconds=4.0,
    ),
    Profile(
        "waits",
        deeds={"start": 15, "send": 15, "cancel": 6, "edit": 4, "pod clock": 5, "operator crash": 3, "pod crash": 2},
        runs={"sleeps": 5, "receives": 6},
        only=True,
        hot={"state": SLOW, "patch agentruns": SLOW},
        near=0.5,
    ),
    Profile(
        "ends",
        deeds={"start": 20, "cancel": 15, "delete": 10, "operator crash": 3, "pod cut": 3, "pod crash": 2},
        runs={"quick": 4, "plain": 3, "deaf": 4, "sleeps": 2},
        only=True,
        hot={"state": SLOW},
        near=0.5,
    ),
    Profile(
        "restores",
        deeds={"start": 15, "etcd restored": 4, "pod evicted": 4, "operator crash": 3, "pod crash": 4},
        only=True,
    ),
)  # fmt: skip


def profile_of(seed: int) -> Profile:
    """The seed's kind of schedule."""
    return random.Random(f"profile {seed}").choice(PROFILES)


def draw(rng: random.Random, weights: dict[str, int]) -> str:
    """One name, by weight."""
    return rng.choices(list(weights), list(weights.values()))[0]
