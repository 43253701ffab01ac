"""Builders of the values that the run loop decides on: a plain one each, changed where the case needs it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from pinfleet.wire import RunListing
from pinfleet_operator.api.child import PodRecord
from pinfleet_operator.api.fleet import FleetView
from pinfleet_operator.api.mirror import PodMirror
from pinfleet_operator.api.run import Limits, RunRecord
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.runs.judge.situation import Listed, Situation

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LIMITS = Limits(max_steps=1000, active_seconds=86_400, deadline_seconds=2_592_000, max_attempts=3)


def ago(seconds: float) -> datetime:
    """A time before now."""
    return NOW - timedelta(seconds=seconds)


def hence(seconds: float) -> datetime:
    """A time after now."""
    return NOW + timedelta(seconds=seconds)


FLEET = FleetView(
    namespace="ns",
    name="support",
    uid="fleet-uid",
    active_version="v1",
    candidate_version=None,
    limits=LIMITS,
    runs_per_pod=10,
    run_ttl_seconds=86_400,
    ended_runs_limit=1000,
    has_four_eyes=False,
    is_paused=False,
    is_deleting=False,
    cancels_runs=False,
)

PENDING = RunRecord(
    uid="run-uid",
    namespace="ns",
    name="run-1",
    resource_version=7,
    generation=1,
    created_at=ago(60),
    deleting=False,
    gitops=False,
    fleet="support",
    requested_version=None,
    requested_limits=None,
    cancel=False,
    input_bytes=10,
    phase="Pending",
    version=None,
    pod=None,
    pod_uid=None,
    boot=None,
    epoch=0,
    attempts=0,
    pod_deaths=0,
    limits=None,
    steps=0,
    steps_at_attempt=0,
    waiting_for=(),
    timers_fired=(),
    assigned_at=None,
    deadline_at=None,
    started_at=None,
    parked_at=None,
    ended_at=None,
    active_seconds=0,
    reason="",
    message="",
    reason_since=None,
)

RUNNING = msgspec.structs.replace(
    PENDING,
    phase="Running",
    version="v1",
    pod="support-v1-0",
    pod_uid="pod-a",
    boot="boot-a",
    epoch=1,
    attempts=1,
    limits=LIMITS,
    assigned_at=ago(50),
    deadline_at=hence(1_000_000),
    started_at=ago(50),
    reason="Assigned",
)

POD = PodRecord(
    uid="pod-a",
    namespace="ns",
    name="support-v1-0",
    resource_version=3,
    created_at=ago(600),
    fleet="support",
    version="v1",
    version_uid="version-uid",
    phase="Running",
    ready=True,
    ready_since=ago(590),
    scheduled=True,
    ip="127.1.0.1",
    node="node-1",
    cordoned=False,
    deleting=False,
    disrupted=False,
    exit_code=None,
    termination_message="",
    waiting_reason="",
    waiting_message="",
)


def listing(state: Any = "running", **changes: Any) -> RunListing:
    """What pod-a says of the run at epoch 1."""
    return RunListing(**({"uid": "run-uid", "name": "run-1", "epoch": 1, "state": state} | changes))


def mirror(*runs: RunListing, **changes: Any) -> PodMirror:
    """A pod that answers."""
    known: dict[str, Any] = {"pod_uid": "pod-a", "version": "v1", "boot": "boot-a", "n": 5, "capacity": 10}
    return PodMirror(**(known | {"answered_at": NOW} | changes), runs={run.uid: run for run in runs})


@pytest.fixture
def situation() -> Callable[..., Situation]:
    """Make a situation of a run; `said` is what pod-a lists."""

    def make(run: RunRecord | None, /, *said: RunListing, **changes: Any) -> Situation:
        base = Situation(
            uid="run-uid",
            run=run,
            is_absent=False,
            fleet=FLEET,
            may_pin=True,
            now=NOW,
            is_pod_gone=False,
            pod=POD,
            mirror=mirror(*said),
            silent_since=None,
            is_network_doubtful=False,
            offer_refused=None,
            next_offer_at=None,
            listed=tuple(Listed("pod-a", each) for each in said),
            steps_heard=max((each.steps for each in said), default=0),
            told=(),
            above_epoch=0,
            approvals=(),
            decisions=(),
            next_update_at=None,
            next_wake_at=None,
            died_with=1,
            can_place=True,
            can_place_alone=True,
            lost_since=None,
            reported_at=ago(60),
            is_surplus=False,
            settings=Settings(),
        )
        return replace(base, **changes)

    return make
