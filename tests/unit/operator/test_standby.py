"""A standby watches for weeks what it never works on: it keeps what is there, and nothing of what is gone."""

import gc
from datetime import UTC, datetime
from types import FunctionType, ModuleType
from typing import Any, cast

import msgspec
import pytest

from pinfleet_operator.api.run import RunRecord
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.control_plane import ControlPlane, Ends
from tests.fakes.clock import StepClock
from tests.unit.operator.runs.conftest import PENDING

GONE, KEPT = 2000, 20


class Silent:
    """API server, pods and Lease of a process that only listens; whatever else it would ask is a mistake."""

    def server_now(self) -> datetime:
        """Any time."""
        return datetime(2026, 1, 1, tzinfo=UTC)

    async def raise_transitions(self, above: int) -> None:
        """A standby has no term."""
        raise AssertionError(above)


@pytest.fixture
def standby() -> ControlPlane:
    """A control plane that was never told to lead."""
    silent = cast("Any", Silent())
    return ControlPlane(Ends(kube=silent, pods=silent, leader=silent, clock=StepClock()), key=b"k", settings=Settings())


def run(n: int, phase: str, rv: int) -> RunRecord:
    """One state of a run."""
    uid, pod = f"churned-{n}.", f"pod-{n % 7}" if phase == "Running" else None
    status = {"phase": phase, "version": "v1", "pod": pod, "pod_uid": pod, "ended_at": PENDING.created_at}
    return msgspec.structs.replace(PENDING, uid=uid, name=uid, resource_version=rv, **status)


def texts_reachable(root: object) -> set[str]:
    """Every text that can be come by from an object; packed records hold theirs as bytes."""
    seen: set[int] = set()
    found: set[str] = set()
    left = [root]
    while left:
        each = left.pop()
        if id(each) in seen or isinstance(each, ModuleType | FunctionType | type):
            continue
        seen.add(id(each))
        if isinstance(each, str):
            found.add(each)
        elif isinstance(each, bytes):
            found.add(each.decode("latin-1"))
        elif isinstance(each, dict):  # what holds texts alone is not tracked, and tells no referents
            left.extend((*each.keys(), *each.values()))
        elif isinstance(each, list | tuple | set | frozenset):
            left.extend(each)
        elif isinstance(each, msgspec.Struct):
            left.extend(msgspec.structs.astuple(each))
        left.extend(gc.get_referents(each))
    return found


def test_nothing_is_kept_of_runs_that_are_gone(standby: ControlPlane) -> None:
    """Runs that came, ran, ended and were deleted leave nothing behind; those that are there can be found."""
    store = standby.store
    store.runs.replace([], "1")
    for n in range(GONE):
        for rv, phase in enumerate(("Pending", "Running", "Parked", "Running", "Succeeded")):
            store.runs.upsert(run(n, phase, 10 * n + rv + 10), str(10 * n + rv + 10))
        if n >= KEPT:
            store.runs.remove(run(n, "Succeeded", 10 * n + 15), str(10 * n + 15))
    kept = {text for text in texts_reachable(standby) if "churned-" in text}
    assert {n for n in range(GONE) if any(f"churned-{n}." in text for text in kept)} <= set(range(KEPT))
    assert any("churned-0." in text for text in kept)
