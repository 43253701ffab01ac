"""The models as readers and writers of objects, and their agreement with the run loop's fast reading."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from pinfleet_operator.api.models import AgentDeployment, AgentRun
from pinfleet_operator.api.models.run_rules import EDGES, TERMINAL, RunPhase
from pinfleet_operator.api.run import TERMINAL as FAST_TERMINAL
from pinfleet_operator.api.run import Phase, RunRecord, decode_run

Json = dict[str, Any]

MOMENT = "2026-01-02T03:04:05Z"
RUN: Json = {
    "apiVersion": "pinfleet.dev/v1alpha1",
    "kind": "AgentRun",
    "metadata": {
        "name": "r-1",
        "namespace": "team-a",
        "uid": "u-1",
        "resourceVersion": "7",
        "generation": 2,
        "creationTimestamp": MOMENT,
    },
    "spec": {"task": {"agentDeployment": "demo", "version": "v1", "limits": {"maxSteps": 5}, "input": {"a": None}}},
    "status": {
        "observedGeneration": 2,
        "phase": "Parked",
        "version": "v1",
        "pod": "p-1",
        "podUID": "pu-1",
        "boot": "b-1",
        "epoch": 3,
        "attempts": 2,
        "podDeaths": 1,
        "limits": {"maxSteps": 5, "activeSeconds": 6, "deadlineSeconds": 7, "maxAttempts": 8},
        "steps": 4,
        "stepsAtAttempt": 3,
        "waitingFor": [
            {
                "id": "t",
                "kind": "Approval",
                "name": "refund",
                "until": MOMENT,
                "since": MOMENT,
                "hash": "0" * 64,
                "who": "finance",
            }
        ],
        "timersFired": ["s"],
        "assignedAt": MOMENT,
        "deadlineAt": MOMENT,
        "startedAt": MOMENT,
        "parkedAt": MOMENT,
        "endedAt": MOMENT,
        "activeSeconds": 9,
        "messagesSeen": 1,
        "decisionsSeen": ["1" * 64],
        "reason": "Waiting",
        "message": "waits",
        "conditions": [
            {
                "type": "Succeeded",
                "status": "Unknown",
                "reason": "Waiting",
                "message": "waits",
                "lastTransitionTime": MOMENT,
            }
        ],
    },
}


def test_a_run_is_read_the_same_by_both_readings() -> None:
    """The fast reading sees in every field of the status what the model sees: one cannot change without the other."""
    slow, fast = AgentRun.model_validate(RUN), decode_run(msgspec.json.encode(RUN))
    both = sorted(set(RunRecord.__struct_fields__) & set(type(slow.status).model_fields))
    assert {"epoch", "limits", "steps", "version", "waiting_for"} <= set(both)
    for name in both:
        seen = getattr(slow.status, name)
        assert _plain(seen) == _plain(getattr(fast, name)), name
    assert (slow.spec.task.agent_deployment, slow.spec.task.version) == (fast.fleet, fast.requested_version)
    assert _plain(slow.spec.task.limits) == _plain(fast.requested_limits)


def test_the_fast_reading_knows_every_field_that_it_needs() -> None:
    """What the run loop reads of a status exists in the model, and what it leaves out is left out on purpose."""
    fast, slow = set(RunRecord.__struct_fields__), set(type(AgentRun.model_validate(RUN).status).model_fields)
    assert slow - fast == {"observed_generation", "result", "conditions"}


def test_both_readings_know_the_same_phases() -> None:
    """Phases and terminal phases are the same list in the schema and in the run loop."""
    assert RunPhase == Phase
    assert frozenset(TERMINAL) == FAST_TERMINAL
    assert {phase for phase, next_phases in EDGES.items() if not next_phases} == FAST_TERMINAL


def test_an_object_is_written_as_it_was_read() -> None:
    """Reading a run and writing it again loses no field and invents none."""
    read = AgentRun.model_validate(RUN)
    written = json.loads(read.model_dump_json(by_alias=True, exclude_unset=True))
    assert written == RUN


def test_an_unknown_field_is_ignored() -> None:
    """An operator that is older than the CRD reads the object all the same."""
    spec = {"template": {}, "rollout": {"autoPromote": True}}
    assert AgentDeployment.model_validate({"spec": spec}).spec.max_replicas == 10


@pytest.mark.parametrize("template", [None, 5, "x", []])
def test_a_template_is_an_object(template: object) -> None:
    """The CRD cannot say so of a typeless field; the model does, and the fleet says InvalidSpec."""
    with pytest.raises(ValidationError, match=r"spec\.template"):
        AgentDeployment.model_validate({"spec": {"template": template}})


def _plain(value: Any) -> Any:
    """A value of either reading as comparable data: no classes, no absent fields, times in UTC."""
    if hasattr(value, "model_dump"):
        value = value.model_dump(exclude_none=True)
    if isinstance(value, msgspec.Struct):
        value = {name: getattr(value, name) for name in value.__struct_fields__ if name != "shown"}
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items() if item is not None}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value.astimezone(UTC) if isinstance(value, datetime) else value
