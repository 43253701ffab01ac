"""Versions whose open runs all wait: when they go without pods, and when one comes back."""

from typing import Any

import pytest

from pinfleet_operator.plan import actions as do
from pinfleet_operator.plan.world import PodView, World
from tests.unit.operator.plan.situations import (
    EMPTY,
    HALF,
    LATELY,
    Row,
    acts,
    close,
    cordon,
    create,
    draining,
    recorded,
)
from tests.unit.operator.plan.worlds import (
    NOW,
    a_fleet,
    a_pod,
    a_record,
    a_spec,
    a_status,
    a_version,
    a_world,
    ago,
    open_runs,
)

ASLEEP = do.ConfirmAsleep("v1", "v1-uid")
SLEEPERS = open_runs(parked=8, held=1)
SOON, LATER = ago(-20), ago(-100)


def old(*pods: PodView, journal: str | None = "state", **given: Any) -> World:
    """V1 drains, and its open runs all wait unless said otherwise."""
    return draining(*pods, **({"counts": SLEEPERS, "record": a_record(claim_name=journal)} | given))


def current(*pods: PodView, replicas: int = 0, unpinned: int = 0, **given: Any) -> World:
    """V1 is active, and its open runs all wait."""
    fields: dict[str, Any] = {"pods": pods, "counts": SLEEPERS, "record": a_record(claim_name="state")} | given
    fleet = a_fleet(a_spec(replicas=replicas), status=a_status("v1", v1="Active"))
    return a_world(a_version(**fields), fleet=fleet, unpinned=unpinned)


ROWS: list[Row] = [
    ("that all runs wait is not believed of the store: it is read", old(EMPTY), (ASLEEP,), 0.0),
    ("once it is certain the last pod goes", old(EMPTY, is_confirmed_asleep=True), (close(EMPTY), cordon(EMPTY)), 0.0),
    ("and nothing more is done", old(is_confirmed_asleep=True), (), None),
    ("without pods there is nothing to be certain about", old(), (), None),
    ("a pod that still lists a run is not asked about", old(a_pod(0, runs=1)), (), None),
    ("a run that is awake keeps its pod", old(HALF, counts=open_runs(5, parked=8)), (), None),
    ("a run that waits for a slot gets a pod", old(counts=open_runs(pending=1, parked=8)), (create(0),), None),
    ("a run that is to be woken gets a pod", old(due=1), (create(0),), None),
    ("a wait that is due in 20 s keeps a pod", old(EMPTY, next_due_at=SOON), (), 20.0),
    ("or gets one in advance", old(next_due_at=SOON), (create(0),), 20.0),
    ("a later one is looked at 30 s before", old(is_confirmed_asleep=True, next_due_at=LATER), (), 70.0),
    ("journals that go with their pod keep it", old(EMPTY, journal=None), (), None),
    ("unknown counts let no pod go", old(EMPTY, is_confirmed_asleep=True, is_synced=False), (), 1.0),
    ("an active version without a floor is asked after a minute", current(EMPTY), (ASLEEP,), 0.0),
    ("but not before", current(LATELY), (), 40.0),
    ("and lets its last pod go", current(EMPTY, is_confirmed_asleep=True), (close(EMPTY),), 0.0),
    ("one with a floor keeps it", current(EMPTY, replicas=1, is_confirmed_asleep=True), (), None),
    ("a new run gets a pod", current(unpinned=1, is_confirmed_asleep=True), (create(0),), None),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "world", "actions", "again"), ROWS)
@pytest.mark.case("INV-6", "draining: the count is unknown")
def test_sleeping(sentence: str, world: World, actions: tuple[do.Action, ...], again: float | None) -> None:
    """Each sentence of the table is true of its world."""
    assert acts(world) == (actions, again), sentence


def _phase(world: World) -> str:
    status = recorded(world).fleet
    assert status is not None
    return next(each.phase for each in status.status.versions if each.name == "v1")


@pytest.mark.parametrize(
    ("world", "phase"),
    [
        (old(), "Dormant"),
        (old(EMPTY), "Draining"),
        (old(due=1), "Draining"),
        (old(counts=open_runs(held=1)), "Dormant"),
        (current(), "Active"),
    ],
)
def test_the_phase_says_so(world: World, phase: str) -> None:
    """An old version without pods whose runs all wait is Dormant; an active one is Active whatever it holds."""
    assert _phase(world) == phase


def test_a_dormant_version_stays_on_the_way_out() -> None:
    """It takes no new runs, keeps the time since when it drains, and wakes without being recorded anew first."""
    dormant = a_fleet(a_spec("v2"), status=a_status("v2", v1="Dormant", v2="Active"))
    world = old(fleet=dormant, due=1)
    assert acts(world)[0] == (create(0),)
    status = recorded(world).fleet
    assert status is not None
    entry = next(each for each in status.status.versions if each.name == "v1")
    assert entry.draining_since is not None
    assert entry.draining_since < NOW
