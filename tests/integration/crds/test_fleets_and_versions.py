"""What may be written into fleets and versions, and what the API server fills in, on a real server."""

import pytest
from tests.integration.crds.server import Api, Json

from pinfleet_operator.api.models import AgentDeployment

pytestmark = pytest.mark.cluster

TEMPLATE: Json = {"spec": {"containers": [{"name": "agent", "image": "demo:v1", "env": [{"name": "A", "value": "1"}]}]}}
DEFAULTS: Json = {
    "replicas": 1,
    "maxReplicas": 10,
    "runsPerPod": 10,
    "port": 8080,
    "limits": {"maxSteps": 1000, "activeSeconds": 86400, "deadlineSeconds": 2592000, "maxAttempts": 3},
    "schemaVersion": 1,
    "drain": {"retireDelaySeconds": 0},
    "approvals": {"fourEyes": False},
    "deletePolicy": "Drain",
    "runTTLSeconds": 86400,
    "endedRunsLimit": 1000,
    "versionHistoryLimit": 10,
    "paused": False,
}
VERSION: Json = {
    "fleet": "demo",
    "fleetUID": "3f7c1f0e-5d53-4c2e-9d3b-000000000000",
    "revision": 1,
    "template": TEMPLATE,
    "port": 8080,
    "runsPerPod": 10,
    "specHash": "sha256-1:" + "0a" * 32,
}
NAME_MESSAGE = "a fleet's name becomes a label and a part of pod names"
MAX_MESSAGE = "spec.maxReplicas is below spec.replicas: write maxReplicas with at least the number of replicas"
NEVER = "a version never changes: change the AgentDeployment, and a new version is made from it"


def test_a_fleet_needs_a_template_only(api: Api, name: str) -> None:
    """All else has a default, and the model's defaults are the ones that the API server stores."""
    answer = api.create("AgentDeployment", name, {"template": TEMPLATE})
    assert answer.body["spec"] == {"template": TEMPLATE, **DEFAULTS}
    bare = AgentDeployment.model_validate({"spec": {"template": TEMPLATE}})
    assert bare.spec == AgentDeployment.model_validate(answer.body).spec


def test_a_part_of_the_limits_keeps_the_other_defaults(api: Api, name: str) -> None:
    """Setting one limit does not lose the others."""
    answer = api.create("AgentDeployment", name, {"template": TEMPLATE, "limits": {"maxSteps": 5}})
    assert {**DEFAULTS["limits"], "maxSteps": 5} == answer.body["spec"]["limits"]


def test_a_fleets_name_is_a_label(api: Api, control: Api, name: str) -> None:
    """A name with a dot or of 64 characters is refused, one of 63 is not."""
    long = (name + "x" * 63)[:63]
    assert api.create("AgentDeployment", long, {"template": TEMPLATE}).code == 201
    for wrong in (f"{long}y", f"{name}.prod"):
        answer = api.create("AgentDeployment", wrong, {"template": TEMPLATE})
        assert answer.code == 422
        assert NAME_MESSAGE in answer.message
        assert control.create("AgentDeployment", wrong, {"template": TEMPLATE}).code == 201


def test_the_most_pods_are_not_below_the_fewest(api: Api, control: Api, name: str) -> None:
    """Replicas above maxReplicas are refused, saying what to write: at creation, by a change, by a removal."""
    spec: Json = {"template": TEMPLATE, "replicas": 20}
    assert MAX_MESSAGE in api.create("AgentDeployment", name, spec).message
    assert control.create("AgentDeployment", name, spec).code == 201
    assert api.create("AgentDeployment", name, {**spec, "maxReplicas": 20}).code == 201
    for patch in ({"maxReplicas": 19}, {"replicas": 21}, {"maxReplicas": None}):
        answer = api.merge("AgentDeployment", name, {"spec": patch})
        assert answer.code == 422
        assert MAX_MESSAGE in answer.message


def test_a_fleet_may_rest_at_zero(api: Api, name: str) -> None:
    """No pods while there is no work is a valid wish; no pods ever is not."""
    assert api.create("AgentDeployment", name, {"template": TEMPLATE, "replicas": 0}).code == 201
    answer = api.create("AgentDeployment", f"{name}-b", {"template": TEMPLATE, "replicas": 0, "maxReplicas": 0})
    assert answer.code == 422
    assert "spec.maxReplicas" in answer.message


WRONG = {
    "no template": ({}, "spec.template: Required value"),
    "a state that names no store": ({"template": TEMPLATE, "state": {}}, "state names one store"),
    "a state that names two stores": (
        {"template": TEMPLATE, "state": {"sqlite": {"claimName": "c"}, "postgres": {"secretName": "s"}}},
        "state names one store",
    ),
    "a retention that is too short": (
        {"template": TEMPLATE, "journalRetentionSeconds": 60},
        "spec.journalRetentionSeconds: Invalid value",
    ),
    "an unknown delete policy": ({"template": TEMPLATE, "deletePolicy": "Keep"}, 'supported values: "Drain", "Cancel"'),
    "a version name with a dot": ({"template": TEMPLATE, "version": "v1.2"}, "spec.version"),
    "a negative number of pods": ({"template": TEMPLATE, "replicas": -1}, "spec.replicas"),
    "a port that is none": ({"template": TEMPLATE, "port": 65536}, "spec.port"),
    "more runs in a pod than are sane": ({"template": TEMPLATE, "runsPerPod": 1001}, "spec.runsPerPod"),
}


@pytest.mark.parametrize(("spec", "words"), WRONG.values(), ids=WRONG)
@pytest.mark.case("manifest: no template")
def test_a_wrong_fleet_is_refused(api: Api, name: str, spec: Json, words: str) -> None:
    """What cannot be meant is refused at once, and the message names the field."""
    answer = api.create("AgentDeployment", name, spec)
    assert answer.code == 422
    assert words in answer.message


def test_a_condition_has_a_reason(api: Api, name: str) -> None:
    """An empty reason is refused: a tool could not tell why."""
    assert api.create("AgentDeployment", name, {"template": TEMPLATE}).code == 201
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    answer = api.merge("AgentDeployment", name, {"status": {"conditions": [condition]}}, "status")
    assert answer.code == 422
    assert "status.conditions[0].reason" in answer.message
    condition["reason"] = "Active"
    assert api.merge("AgentDeployment", name, {"status": {"conditions": [condition]}}, "status").code == 200
    twice = {"status": {"conditions": [condition, condition]}}
    assert "Duplicate value" in api.merge("AgentDeployment", name, twice, "status").message


CHANGES: dict[str, Json] = {
    "another port": {"port": 9090},
    "another value deep in the template": {
        "template": {"spec": {"containers": [{"name": "agent", "image": "demo:v2"}]}}
    },
    "one more key in the template": {"template": {"metadata": {"labels": {"a": "b"}}}},
    "a state set later": {"state": {"sqlite": {"claimName": "journals"}}},
    "a schema version removed": {"schemaVersion": None},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_version_never_changes(api: Api, control: Api, name: str, change: Json) -> None:
    """Not one field of a version can be set, changed or removed, not even inside its typeless template."""
    for group in (api, control):
        spec = {**VERSION, "id": name, "schemaVersion": 7}
        assert group.create("AgentVersion", f"demo.{name}", spec).code == 201
    answer = api.merge("AgentVersion", f"demo.{name}", {"spec": change})
    assert answer.code == 422
    assert NEVER in answer.message
    assert control.merge("AgentVersion", f"demo.{name}", {"spec": change}).code == 200


def test_a_versions_spec_is_not_removed(api: Api, name: str) -> None:
    """It cannot be removed to be set anew; its labels and its status may change."""
    assert api.create("AgentVersion", f"demo.{name}", {**VERSION, "id": name}).code == 201
    assert "Required value" in api.merge("AgentVersion", f"demo.{name}", {"spec": None}).message
    assert api.merge("AgentVersion", f"demo.{name}", {"metadata": {"labels": {"a": "b"}}}).code == 200
    assert api.merge("AgentVersion", f"demo.{name}", {"status": {"phase": "Active"}}, "status").code == 200


def test_a_version_is_named_by_fleet_and_id(api: Api, control: Api, name: str) -> None:
    """Another name is refused, so that one (fleet, id) is never two objects."""
    answer = api.create("AgentVersion", name, {**VERSION, "id": name})
    assert answer.code == 422
    assert "a version's object is named <fleet>.<id>" in answer.message
    assert control.create("AgentVersion", name, {**VERSION, "id": name}).code == 201
