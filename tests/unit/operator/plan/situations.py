"""Fleets in common situations, with the actions that a table expects for them."""

from dataclasses import replace
from typing import Any

import msgspec

from pinfleet_operator.plan import actions as do
from pinfleet_operator.plan import naming
from pinfleet_operator.plan.decide import plan
from pinfleet_operator.plan.world import PodView, VersionView, World
from tests.unit.operator.plan.worlds import (
    FLEET,
    a_fleet,
    a_pod,
    a_spec,
    a_status,
    a_version,
    a_world,
    ago,
    open_runs,
)


def recorded(world: World) -> World:
    """The world once its status and the versions' copies are written: what is planned then is about pods alone."""
    for _ in range(3):
        made = plan(world)
        written = [each for each in made.actions if isinstance(each, do.Promote | do.WriteStatus)]
        mirrors = {each.version_uid: each.status for each in made.actions if isinstance(each, do.MirrorStatus)}
        if world.fleet is None or not (written or mirrors):
            return world
        if written:
            world = replace(world, fleet=replace(world.fleet, status=written[0].status))
        world = replace(world, versions=tuple(_mirrored(each, mirrors) for each in world.versions))
    return world


def _mirrored(version: VersionView, mirrors: dict[str, Any]) -> VersionView:
    if version.record.uid not in mirrors:
        return version
    raw = msgspec.Raw(mirrors[version.record.uid].model_dump_json(by_alias=True, exclude_none=True).encode())
    return replace(version, record=msgspec.structs.replace(version.record, status=raw))


def acts(world: World) -> tuple[tuple[do.Action, ...], float | None]:
    """The plan for a recorded world, without what is told the run loop in every pass."""
    made = plan(recorded(world))
    return tuple(each for each in made.actions if not isinstance(each, do.SetFleet)), made.requeue_after


def active(*pods: PodView, **given: Any) -> World:
    """Version v1 is active, with these pods."""
    fleet = given.pop("fleet", None) or a_fleet(status=a_status("v1", v1="Active"))
    runs = given.pop("runs", open_runs())
    return a_world(a_version(pods=pods, counts=runs), fleet=fleet, **given)


def draining(*pods: PodView, **given: Any) -> World:
    """Version v2 is active and served, v1 drains with these pods."""
    world = {key: given.pop(key) for key in list(given) if key in World.__dataclass_fields__ and key != "versions"}
    fleet = world.pop("fleet", None) or a_fleet(a_spec("v2"), status=a_status("v2", v1="Draining", v2="Active"))
    old = a_version(pods=pods, **given)
    return a_world(old, a_version("v2", 2, pods=(a_pod(0, "v2"),)), fleet=fleet, **world)


def cordon(pod: PodView) -> do.CordonPod:
    """The second step of its removal."""
    return do.CordonPod(pod.record.name, pod.record.uid, pod.record.resource_version)


def delete(pod: PodView) -> do.DeletePod:
    """The third."""
    return do.DeletePod(pod.record.name, pod.record.uid, pod.record.resource_version)


def create(ordinal: int = 0, version: str = "v1") -> do.CreatePod:
    """A pod of a version."""
    return do.CreatePod(version, f"{version}-uid", naming.pod_name_of(FLEET, version, ordinal))


def close(pod: PodView) -> do.ClosePod:
    """The first step of its removal."""
    return do.ClosePod(pod.record.uid)


Row = tuple[str, World, tuple[do.Action, ...], float | None]

FULL, HALF, EMPTY = a_pod(0, runs=10), a_pod(1, runs=5), a_pod(2)
LATELY = a_pod(2, empty_since=ago(20))
CLOSED = a_pod(2, is_closed=True)
CORDONED = a_pod(2, cordoned=True)
UNHEARD = a_pod(2, is_closed=True, has_answered=False, answers=False)
SILENT = a_pod(0, runs=3, ready=False, has_answered=True, failing_since=ago(40))
SHORTLY = a_pod(0, runs=3, ready=False, has_answered=True, failing_since=ago(10))
STILL_READY = a_pod(0, runs=3, answers=False, failing_since=ago(40))
STARTING = a_pod(0, ready=False, failing_since=ago(40), created_at=ago(45), ready_since=None)
STUCK = a_pod(0, capacity=0)
HALF_STUCK = a_pod(0, runs=4, capacity=4)
DEAD = a_pod(0, ready=False, phase="Failed", exit_code=1, created_at=ago(5))
DEAD_LONG = a_pod(0, ready=False, phase="Failed", exit_code=1, created_at=ago(4000))
EVICTED = a_pod(0, ready=False, phase="Failed", disrupted=True, created_at=ago(5))
OWNING = a_pod(0, ready=False, phase="Failed", disrupted=True, created_at=ago(5), runs=2)
ENDING = a_pod(0, ready=False, deleting=True, deleting_since=ago(20))
HUNG = a_pod(0, ready=False, deleting=True, deleting_since=ago(301))
CONFIRM = do.ConfirmEmpty("v1", "v1-uid")


def acts_of(made: do.Plan) -> tuple[tuple[do.Action, ...], float | None]:
    """A plan without what is told the run loop in every pass."""
    return tuple(each for each in made.actions if not isinstance(each, do.SetFleet)), made.requeue_after


def conditions_of(world: World) -> dict[str, tuple[str, str, str]]:
    """Status, reason and message of every condition that is written."""
    fleet = recorded(world).fleet
    assert fleet is not None
    return {each.type: (each.status, each.reason, each.message) for each in fleet.status.conditions}
