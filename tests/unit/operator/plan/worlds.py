"""Worlds for the planner's tests: everything has a plain default, a test says what differs."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from pinfleet_operator.api import keys
from pinfleet_operator.api.child import PodRecord, VersionRecord
from pinfleet_operator.api.fleet import Counts
from pinfleet_operator.api.models.agent_deployment import AgentDeploymentSpec, AgentDeploymentStatus
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.plan import naming
from pinfleet_operator.plan.hashing import spec_hash
from pinfleet_operator.plan.render import render
from pinfleet_operator.plan.world import FleetState, PodView, Reach, VersionView, World

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMESPACE, FLEET, FLEET_UID = "prod", "support", "fleet-uid"


def ago(seconds: float) -> datetime:
    """A time before NOW."""
    return NOW - timedelta(seconds=seconds)


def a_spec(version: str | None = "v1", **given: Any) -> AgentDeploymentSpec:
    """A spec whose template depends on the version's name."""
    image = f"registry.local/support:{version or 'x'}"
    fields = {"template": {"spec": {"containers": [{"name": "agent", "image": image}]}}, "version": version, **given}
    return AgentDeploymentSpec.model_validate(fields)


def a_status(active: str | None = None, **phases: str) -> AgentDeploymentStatus:
    """A status with one entry for each version, newest first."""
    entries = [an_entry(name, phase, revision) for revision, (name, phase) in enumerate(phases.items(), 1)]
    return AgentDeploymentStatus.model_validate({"activeVersion": active, "versions": entries[::-1]})


def an_entry(name: str, phase: str, revision: int, **given: Any) -> dict[str, Any]:
    """One version's entry."""
    zeros = dict.fromkeys(("pods", "ready", "open", "running", "parked", "pending", "held"), 0)
    left = {"drainingSince": "2026-03-01T11:00:00Z"} if phase in {"Draining", "Dormant", "Retired"} else {}
    retired = {"retiredAt": "2026-03-01T11:30:00Z"} if phase == "Retired" else {}
    return {"name": name, "phase": phase, "revision": revision, **zeros, **left, **retired, **given}


def a_fleet(spec: AgentDeploymentSpec | None = None, **given: Any) -> FleetState:
    """A fleet with its finalizer."""
    fields: dict[str, Any] = {
        "uid": FLEET_UID,
        "generation": 1,
        "resource_version": "500",
        "spec": spec or a_spec(),
        "spec_error": "",
        "status": AgentDeploymentStatus(),
        "is_deleting": False,
        "finalizers": (keys.FINALIZER,),
    }
    return FleetState(**(fields | given))


def a_record(id: str = "v1", revision: int = 1, spec: AgentDeploymentSpec | None = None, **given: Any) -> VersionRecord:  # noqa: A002 - the field's name
    """A version as it is made from ``a_spec(id)``."""
    spec = spec or a_spec(id)
    template = render(fleet=FLEET, fleet_uid=FLEET_UID, version=id, spec=spec, settings=Settings())
    fields: dict[str, Any] = {
        "uid": f"{id}-uid",
        "namespace": NAMESPACE,
        "name": naming.version_name(FLEET, id),
        "resource_version": 600,
        "created_at": ago(7200),
        "deleting": False,
        "fleet": FLEET,
        "fleet_uid": FLEET_UID,
        "id": id,
        "revision": revision,
        "spec_hash": spec_hash(spec),
        "port": spec.port,
        "runs_per_pod": spec.runs_per_pod,
        "claim_name": spec.state.sqlite.claim_name if spec.state and spec.state.sqlite else None,
        "schema_version": spec.schema_version,
        "template": msgspec.Raw(msgspec.json.encode(template)),
        "status": msgspec.Raw(b"{}"),
    }
    return VersionRecord(**(fields | given))


def a_pod(ordinal: int = 0, version: str = "v1", *, ready: bool = True, runs: int = 0, **given: Any) -> PodView:
    """A pod that serves, unless said otherwise; fields of the record and of the view alike."""
    name = naming.pod_name_of(FLEET, version, ordinal)
    record: dict[str, Any] = {
        "uid": f"{name}-uid",
        "namespace": NAMESPACE,
        "name": name,
        "resource_version": 700 + ordinal,
        "created_at": ago(3600),
        "fleet": FLEET,
        "version": version,
        "version_uid": f"{version}-uid",
        "phase": "Running",
        "ready": ready,
        "ready_since": ago(3600),
        "scheduled": True,
        "ip": "10.0.0.1",
        "node": "n1",
        "cordoned": False,
        "deleting": False,
        "disrupted": False,
        "exit_code": None,
        "termination_message": "",
        "waiting_reason": "",
        "waiting_message": "",
    }
    view: dict[str, Any] = {
        "runs": runs,
        "has_answered": ready,
        "answers": ready,
        "failing_since": None,
        "capacity": 10,
        "is_closed": False,
        "empty_since": ago(3600) if runs == 0 else None,
        "deleting_since": None,
        "is_taken_alone": False,
    }
    unknown = set(given) - set(record) - set(view)
    if unknown:
        raise TypeError(f"a pod has no {unknown}")
    record |= {key: value for key, value in given.items() if key in record}
    view |= {key: value for key, value in given.items() if key in view}
    return PodView(record=PodRecord(**record), **view)


def a_version(id: str = "v1", revision: int = 1, *, pods: tuple[PodView, ...] = (), **given: Any) -> VersionView:  # noqa: A002 - the field's name
    """A version without runs, unless said otherwise."""
    fields: dict[str, Any] = {
        "record": a_record(id, revision),
        "counts": Counts(),
        "due": 0,
        "next_due_at": None,
        "pods": pods,
        "is_confirmed_empty": False,
        "is_confirmed_asleep": False,
        "empty_since": ago(3600),
        "secret_written_at": ago(3600),
        "refusal": None,
    }
    return VersionView(**(fields | given))


def open_runs(running: int = 0, parked: int = 0, pending: int = 0, held: int = 0) -> Counts:
    """Counts of a version with open runs."""
    total = running + parked + pending + held
    return Counts(total, running, parked, pending, held, "run-a" if total else None, ago(600) if total else None)


def a_world(*versions: VersionView, fleet: FleetState | None = None, **given: Any) -> World:
    """A synced world in which all is quiet."""
    fields: dict[str, Any] = {
        "namespace": NAMESPACE,
        "name": FLEET,
        "now": NOW,
        "fleet": fleet or a_fleet(),
        "versions": versions,
        "lost": (),
        "unpinned": 0,
        "counted_at": "900",
        "is_synced": True,
        "reach": Reach(),
        "is_namespace_ending": False,
        "takes_no_pins": False,
        "template_error": None,
        "is_claim_missing": False,
        "status_written_at": ago(3600),
        "settings": Settings(),
    }
    return World(**(fields | given))


def gone(world: World) -> World:
    """The same world after the fleet's object is gone."""
    return replace(world, fleet=None)


@dataclass
class Run:
    """One run of the toy."""

    name: str
    created_at: datetime
    version: str | None = None
    phase: str = "Pending"
    pod: str | None = None  # uid

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.phase != "Ended"
