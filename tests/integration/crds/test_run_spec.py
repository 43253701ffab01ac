"""What a user may write into a run's spec, on a real server."""

import json
from pathlib import Path

import pytest
from tests.integration.crds.server import Api, Json, Kubectl

from pinfleet_operator.api import keys

pytestmark = pytest.mark.cluster

TASK: Json = {"agentDeployment": "demo", "input": {"order": 7, "note": None}, "limits": {"maxSteps": 5}}
CHANGES: dict[str, Json] = {
    "another fleet": {"agentDeployment": "other"},
    "another value inside the input": {"input": {"order": 8}},
    "one more key in the input": {"input": {"more": 1}},
    "no input": {"input": None},
    "a version set later": {"version": "v2"},
    "limits changed": {"limits": {"maxSteps": 6}},
    "limits removed": {"limits": None},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_task_is_immutable(api: Api, control: Api, name: str, change: Json) -> None:
    """What is to be done never changes, nor does what lies inside its typeless input."""
    for group in (api, control):
        assert group.create("AgentRun", name, {"task": TASK}).code == 201
    answer = api.merge("AgentRun", name, {"spec": {"task": change}})
    assert answer.code == 422
    assert "a run's task cannot be changed: create another AgentRun" in answer.message
    assert control.merge("AgentRun", name, {"spec": {"task": change}}).code == 200


def test_a_task_is_not_removed(api: Api, name: str) -> None:
    """A run without a task cannot exist, so that one cannot be set anew in two writes."""
    assert api.create("AgentRun", name, {"task": TASK}).code == 201
    for patch in ({"spec": {"task": None}}, {"spec": None}):
        answer = api.merge("AgentRun", name, patch)
        assert answer.code == 422
        assert "Required value" in answer.message


@pytest.mark.parametrize("back", [False, None])
def test_a_cancel_is_not_taken_back(api: Api, control: Api, name: str, back: bool | None) -> None:  # noqa: FBT001
    """Once asked for, a cancel stays, by false and by removal: a pod may have acted on it already."""
    for group in (api, control):
        assert group.create("AgentRun", name, {"task": TASK}).code == 201
        assert group.merge("AgentRun", name, {"spec": {"cancel": True}}).code == 200
    answer = api.merge("AgentRun", name, {"spec": {"cancel": back}})
    assert answer.code == 422
    assert "a cancel cannot be taken back: create another AgentRun" in answer.message
    assert control.merge("AgentRun", name, {"spec": {"cancel": back}}).code == 200


def test_a_cancelled_run_is_applied_again(api: Api, kubectl: Kubectl, tmp_path: Path, name: str) -> None:
    """A manifest without cancel can be applied over a cancelled run; the cancel stays."""
    manifest = tmp_path / "run.json"
    task: Json = {"agentDeployment": "demo", "input": {"order": 7}}
    run = {"apiVersion": keys.API_VERSION, "kind": "AgentRun", "metadata": {"name": name}, "spec": {"task": task}}
    manifest.write_text(json.dumps(run))
    kubectl("apply", "-f", str(manifest))
    assert api.merge("AgentRun", name, {"spec": {"cancel": True}}).code == 200
    kubectl("apply", "-f", str(manifest))
    assert api.get("AgentRun", name).body["spec"] == {"task": task, "cancel": True}


@pytest.mark.parametrize("value", [{"a": None, "b": [None, {"c": None}]}, [1, 2], "text", 5, 1.5, False, 0, ""])
def test_an_input_is_any_json(api: Api, name: str, value: object) -> None:
    """An input is stored as it was written, whatever its type."""
    assert api.create("AgentRun", name, {"task": {"agentDeployment": "demo", "input": value}}).code == 201
    assert value == api.get("AgentRun", name).body["spec"]["task"]["input"]


def test_an_input_of_null_is_no_input(api: Api, name: str) -> None:
    """Null is dropped by the API server, and reads the same."""
    assert api.create("AgentRun", name, {"task": {"agentDeployment": "demo", "input": None}}).code == 201
    assert "input" not in api.get("AgentRun", name).body["spec"]["task"]


def test_a_large_input_is_left_to_the_operator(api: Api, name: str) -> None:
    """An input over 32 KiB is stored: the run then fails with a reason, where its author looks."""
    assert api.create("AgentRun", name, {"task": {"agentDeployment": "demo", "input": "x" * 40_000}}).code == 201


WRONG = {
    "no fleet": ({}, "spec.task.agentDeployment"),
    "a fleet that is no label": ({"agentDeployment": "Demo_1"}, "spec.task.agentDeployment"),
    "a fleet in another namespace": ({"agentDeployment": "team-b/demo"}, "spec.task.agentDeployment"),
    "a fleet name of 64 characters": ({"agentDeployment": "a" * 64}, "spec.task.agentDeployment"),
    "a version that YAML reads as a number": ({"agentDeployment": "demo", "version": 2}, "spec.task.version"),
    "no steps": ({"agentDeployment": "demo", "limits": {"maxSteps": 0}}, "spec.task.limits.maxSteps"),
    "a deadline of half a second": ({"agentDeployment": "demo", "limits": {"deadlineSeconds": 0.5}}, "deadlineSeconds"),
}


@pytest.mark.parametrize(("task", "field"), WRONG.values(), ids=WRONG)
def test_a_wrong_task_is_refused(api: Api, name: str, task: Json, field: str) -> None:
    """What cannot be meant is refused at once, and the message names the field."""
    answer = api.create("AgentRun", name, {"task": task})
    assert answer.code == 422
    assert field in answer.message
