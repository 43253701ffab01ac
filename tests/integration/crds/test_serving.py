"""What users and watches see of the resources, on a real server: columns, names, selectors, conflicts."""

import json
from pathlib import Path

import pytest
import yaml
from tests.integration.crds.server import Api, Json, Kubectl, eventually

from localcluster import Cluster
from pinfleet_operator.api import crdgen

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parents[3]
TASK: Json = {"task": {"agentDeployment": "demo"}}


def _table(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_fresh_run_is_pending_everywhere(api: Api, name: str) -> None:
    """The answer to the creation, a read, a list and a field selector agree, though nobody has written a status."""
    spec: Json = {"task": {"agentDeployment": name}}
    assert api.create("AgentRun", name, spec).body["status"] == {"phase": "Pending"}
    assert api.get("AgentRun", name).body["status"] == {"phase": "Pending"}
    assert api.names("AgentRun", f"status.phase=Pending,spec.task.agentDeployment={name}") == [name]


def test_runs_are_selected_by_fleet_version_and_phase(api: Api, name: str) -> None:
    """The three field selectors find a run before and after it is assigned, each alone and together."""
    spec: Json = {"task": {"agentDeployment": name}}
    assert api.create("AgentRun", name, spec).code == 201
    assert (
        api.merge("AgentRun", name, {"status": {"phase": "Running", "version": name, "epoch": 1}}, "status").code == 200
    )
    assert api.names("AgentRun", f"status.version={name}") == [name]
    assert api.names("AgentRun", f"status.phase=Running,status.version={name}") == [name]
    assert api.names("AgentRun", f"status.phase=Parked,status.version={name}") == []
    assert api.names("AgentRun", f"status.phase!=Parked,spec.task.agentDeployment={name}") == [name]


def test_a_stale_write_is_a_conflict(api: Api, name: str) -> None:
    """A merge patch with an old resourceVersion answers 409 before any rule is asked; the current one is taken."""
    old = api.create("AgentRun", name, TASK).body["metadata"]["resourceVersion"]
    pinned = {"status": {"version": "v1"}, "metadata": {"resourceVersion": old}}
    now = api.merge("AgentRun", name, pinned, "status").body["metadata"]["resourceVersion"]
    for status in ({"version": "v1"}, {"version": "v2"}, {"steps": "five"}):
        stale = {"metadata": {"resourceVersion": old}, "status": status}
        assert api.merge("AgentRun", name, stale, "status").code == 409
    current = {"metadata": {"resourceVersion": now}, "status": {"version": "v2"}}
    assert api.merge("AgentRun", name, current, "status").code == 422


def test_an_unknown_field_of_the_status_is_dropped(api: Api, name: str) -> None:
    """It is not stored, and refused where the writer asks for strictness: a field needs the schema first."""
    assert api.create("AgentRun", name, TASK).code == 201
    patch = {"status": {"steps": 1, "unknown": ["m"]}}
    assert api.merge("AgentRun", name, patch, "status").body["status"] == {"phase": "Pending", "steps": 1}
    answer = api.merge("AgentRun", name, patch, "status", fieldValidation="Strict")
    assert answer.code == 422
    assert 'unknown field "status.unknown"' in answer.message


def test_nulls_inside_a_result(api: Api, name: str) -> None:
    """A merge patch drops a result's null members; a JSON patch keeps them and is fenced by resourceVersion too."""
    result = {"x": None, "y": [None, {"z": None}]}
    version = api.create("AgentRun", name, TASK).body["metadata"]["resourceVersion"]
    merged = api.merge("AgentRun", name, {"status": {"result": result}}, "status").body
    assert merged["status"]["result"] == {"y": [None, {}]}
    write = {"op": "add", "path": "/status/result", "value": result}
    stale = [{"op": "replace", "path": "/metadata/resourceVersion", "value": version}, write]
    assert api.json_patch("AgentRun", name, stale, "status").code == 409
    current = [{**stale[0], "value": merged["metadata"]["resourceVersion"]}, write]
    assert result == api.json_patch("AgentRun", name, current, "status").body["status"]["result"]


def test_a_time_or_an_end_of_null_is_no_field(api: Api, name: str) -> None:
    """A wait without an end may say so by null: the API server drops it instead of refusing the write."""
    assert api.create("AgentRun", name, TASK).code == 201
    waits = [{"id": "t1", "kind": "Timer", "name": "", "until": None, "since": "2026-01-01T00:00:00.123456Z"}]
    answer = api.merge("AgentRun", name, {"status": {"waitingFor": waits}}, "status")
    assert "until" not in answer.body["status"]["waitingFor"][0]


def test_columns_of_a_run(api: Api, kubectl: Kubectl, name: str) -> None:
    """``kubectl get arun`` shows fleet, version, phase, steps, pod, age, and with -o wide the reason."""
    assert api.create("AgentRun", name, TASK).code == 201
    assert _table(kubectl("get", "arun", name))[0] == ["NAME", "FLEET", "VERSION", "PHASE", "STEPS", "POD", "AGE"]
    assert _table(kubectl("get", "arun", name))[1][:3] == [name, "demo", "Pending"]
    status = {"phase": "Running", "version": "v1", "epoch": 1, "steps": 4, "pod": "demo-v1-0", "reason": "Assigned"}
    assert api.merge("AgentRun", name, {"status": status}, "status").code == 200
    row = _table(kubectl("get", "arun", name, "-o", "wide"))[1]
    assert [name, "demo", "v1", "Running", "4", "demo-v1-0"] == row[:6]
    assert row[-1] == "Assigned"


def test_columns_of_a_fleet_and_a_version(api: Api, kubectl: Kubectl, name: str) -> None:
    """A fleet shows what is active, what comes, and whether it is drained; a version its phase."""
    assert api.create("AgentDeployment", name, {"template": {}}).code == 201
    moment = {"reason": "Active", "message": "v2 active", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    conditions = [{"type": "Ready", "status": "True", **moment}, {"type": "Drained", "status": "False", **moment}]
    status = {"activeVersion": "v2", "candidateVersion": "v3", "pendingRuns": 6, "conditions": conditions}
    assert api.merge("AgentDeployment", name, {"status": status}, "status").code == 200
    head, row = _table(kubectl("get", "adep", name))
    assert head == ["NAME", "ACTIVE", "CANDIDATE", "READY", "DRAINED", "PENDING", "AGE"]
    assert [name, "v2", "v3", "True", "False", "6"] == row[:6]
    spec = {"fleet": name, "fleetUID": "u", "id": "v2", "revision": 1, "template": {}, "port": 80, "runsPerPod": 1}
    assert api.create("AgentVersion", f"{name}.v2", {**spec, "specHash": "sha256-1:" + "0" * 64}).code == 201
    ready = {"phase": "Active", "conditions": conditions[:1]}
    assert api.merge("AgentVersion", f"{name}.v2", {"status": ready}, "status").code == 200
    head, row = _table(kubectl("get", "aver", f"{name}.v2"))
    assert head == ["NAME", "FLEET", "PHASE", "READY", "AGE"]
    assert [f"{name}.v2", name, "Active", "True"] == row[:4]


def test_the_category_lists_all(api: Api, kubectl: Kubectl, name: str) -> None:
    """``kubectl get pinfleet`` shows the resources of all kinds."""
    assert api.create("AgentDeployment", name, {"template": {}}).code == 201
    assert api.create("AgentRun", name, TASK).code == 201
    wanted = {f"{kind}.pinfleet.dev/{name}" for kind in ("agentdeployment", "agentrun")}
    eventually(lambda: wanted <= set(kubectl("get", "pinfleet", "-o", "name").split()))


def test_explain_tells_what_a_field_does(kubectl: Kubectl) -> None:
    """``kubectl explain`` shows the description that stands at the field in the model."""
    wanted = "It cannot be taken back"

    def shown() -> bool:
        return wanted in " ".join(kubectl("explain", "agentruns.spec.cancel").split())

    eventually(shown)


def test_the_crds_are_served_as_written(kubectl: Kubectl) -> None:
    """The API server stores the schema as it is in the file: nothing of it is dropped or filled in."""
    for resource in crdgen.RESOURCES:
        wanted = yaml.safe_load((ROOT / f"crds/{resource.crd.plural}.yaml").read_text(encoding="utf-8"))
        found = json.loads(kubectl("get", "crd", wanted["metadata"]["name"], "-o", "json"))
        assert wanted["spec"]["versions"][0]["schema"] == found["spec"]["versions"][0]["schema"]


def test_a_client_side_apply_fits(cluster: Cluster, kubectl: Kubectl) -> None:
    """Each CRD is small enough for the annotation of a plain ``kubectl apply`` (256 KiB)."""
    assert cluster.kubeconfig.is_file()
    assert kubectl("apply", "--dry-run=server", "--force-conflicts=false", "-f", str(ROOT / "crds"))
    assert max(file.stat().st_size for file in (ROOT / "crds").iterdir()) < 256 * 1024
