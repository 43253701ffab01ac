"""A version's pod template: what is added, what is refused. The golden files hold it whole."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import JsonValue

from pinfleet_operator.api import keys
from pinfleet_operator.api.models.agent_deployment import AgentDeploymentSpec
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.errors import BadManifest
from pinfleet_operator.plan.render import owner_reference, pod_object, render

GOLDEN = Path(__file__).parent / "golden"

SMALL: dict[str, Any] = {"template": {"spec": {"containers": [{"name": "app", "image": "registry.local/support:v1"}]}}}
FULL: dict[str, Any] = {
    "template": {
        "metadata": {"labels": {"app": "support"}, "annotations": {"team": "red"}, "name": "ignored"},
        "spec": {
            "containers": [
                {
                    "name": "agent",
                    "image": "registry.local/support:v1",
                    "env": [
                        {"name": "MODEL", "value": "small"},
                        {"name": "LANGGRAPH_STRICT_MSGPACK", "value": "false"},
                    ],
                    "ports": [{"name": "runs", "containerPort": 9000}],
                    "readinessProbe": {"httpGet": {"path": "/ready", "port": 9000}, "periodSeconds": 5},
                    "volumeMounts": [{"name": "prompts", "mountPath": "/prompts"}],
                },
                {"name": "proxy", "image": "registry.local/proxy:v3"},
            ],
            "volumes": [{"name": "prompts", "configMap": {"name": "prompts"}}],
            "enableServiceLinks": True,
            "terminationGracePeriodSeconds": 120,
        },
    },
    "port": 9000,
    "runsPerPod": 3,
    "schemaVersion": 4,
    "state": {"sqlite": {"claimName": "journals"}},
}


def rendered(spec: dict[str, Any]) -> dict[str, JsonValue]:
    """The template of version v1 of fleet support."""
    model = AgentDeploymentSpec.model_validate(spec)
    return render(fleet="support", fleet_uid="fleet-uid", version="v1", spec=model, settings=Settings())


POSTGRES: dict[str, Any] = SMALL | {
    "state": {"postgres": {"secretName": "journal-url"}},
    "journalRetentionSeconds": 86_400,
}


@pytest.mark.parametrize(("name", "spec"), [("small", SMALL), ("full", FULL), ("postgres", POSTGRES)])
@pytest.mark.case("INV-19")
def test_the_pod_is_as_it_always_was(name: str, spec: dict[str, Any]) -> None:
    """A version's pod is exactly the golden file; UPDATE_GOLDEN=1 writes it anew."""
    owner = owner_reference("support.v1", "version-uid")
    pod = pod_object(rendered(spec), namespace="prod", name="support-v1-0", owner=owner)
    text = yaml.safe_dump(pod, sort_keys=False)
    path = GOLDEN / f"pod-{name}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


def test_rendering_leaves_the_manifest_alone() -> None:
    """The author's object is not changed on the way."""
    spec = AgentDeploymentSpec.model_validate(FULL)
    before = spec.model_dump_json()
    render(fleet="support", fleet_uid="u", version="v1", spec=spec, settings=Settings())
    assert spec.model_dump_json() == before


def changed(**container: Any) -> dict[str, Any]:
    """The small spec with its container changed."""
    return {"template": {"spec": {"containers": [{"name": "app", "image": "x", **container}]}}}


def with_pod(**pod: Any) -> dict[str, Any]:
    """The small spec with its pod changed."""
    return {"template": {"spec": {"containers": [{"name": "app", "image": "x"}], **pod}}}


def with_metadata(**metadata: Any) -> dict[str, Any]:
    """The small spec with metadata."""
    return {"template": {"metadata": metadata, "spec": {"containers": [{"name": "app", "image": "x"}]}}}


@pytest.mark.parametrize(
    ("spec", "names"),
    [
        (with_metadata(labels={"pinfleet.dev/fleet": "other"}), "pinfleet.dev/fleet"),
        (with_metadata(annotations={"pinfleet.dev/x": "y"}), "pinfleet.dev/x"),
        (changed(env=[{"name": "PINFLEET_TOKEN_FILE", "value": "/mine"}]), "PINFLEET_TOKEN_FILE"),
        (changed(volumeMounts=[{"name": "x", "mountPath": "/var/lib/pinfleet/state/"}]), "/var/lib/pinfleet/state"),
        (with_pod(volumes=[{"name": "pinfleet-token", "emptyDir": {}}]), "pinfleet-token"),
        (with_pod(restartPolicy="Always"), "restartPolicy"),
        (with_pod(automountServiceAccountToken=True), "automountServiceAccountToken"),
        (with_pod(serviceAccountName="admin"), "serviceAccountName is admin"),
        (with_pod(serviceAccount="admin"), "serviceAccount is admin"),
        (with_pod(serviceAccountName=["admin"]), "serviceAccountName is"),
        (
            with_pod(volumes=[{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]),
            "volume t projects a serviceAccountToken",
        ),
        (
            with_pod(
                volumes=[{"name": "c", "projected": {"sources": [{"configMap": {}}, {"serviceAccountToken": {}}]}}]
            ),
            "volume c projects a serviceAccountToken",
        ),
        (with_pod(hostNetwork=True), "hostNetwork is true"),
        (with_pod(hostPID=True), "hostPID is true"),
        (with_pod(hostIPC=True), "hostIPC is true"),
        (with_pod(volumes=[{"name": "h", "hostPath": {"path": "/"}}]), "volume h is a hostPath"),
        (changed(ports=[{"containerPort": 80, "hostPort": 80}]), "container app has hostPort 80"),
        (changed(securityContext={"privileged": True}), "container app is privileged"),
        (
            changed(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}),
            "container app adds capabilities .SYS_ADMIN",
        ),
        (
            with_pod(initContainers=[{"name": "i", "securityContext": {"privileged": True}}]),
            "container i is privileged",
        ),
        (with_pod(securityContext={"windowsOptions": {"hostProcess": True}}), "hostProcess"),
        (with_pod(securityContext="x"), "securityContext of spec.template.spec must be an object"),
        ({"template": {"spec": {"containers": []}}}, "0 containers"),
        ({"template": {"spec": {"containers": [{"name": "a"}, {"name": "b"}]}}}, "2 containers"),
        ({"template": {"spec": {"containers": "x"}}}, "containers must be a list"),
        ({"template": {}}, "spec.template.spec must be an object"),
        (with_metadata(labels=["x"]), "labels must be an object"),
    ],
)
def test_what_an_author_may_not_set_is_refused(spec: dict[str, Any], names: str) -> None:
    """What pinfleet owns, credentials, the node: the refusal names what is wrong, and never overrides it silently."""
    with pytest.raises(BadManifest, match=names) as caught:
        rendered(spec)
    assert caught.value.reason == keys.INVALID_TEMPLATE


def test_what_takes_no_rights_is_let_through() -> None:
    """The default service account, dropped capabilities and projected volumes without a token are everybody's own."""
    context = {"privileged": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
    volume = {"name": "x", "projected": {"sources": [{"configMap": {"name": "c"}}, {"secret": {"name": "s"}}]}}
    pod = {
        "containers": [{"name": "app", "image": "x", "securityContext": context, "ports": [{"containerPort": 80}]}],
        "initContainers": [{"name": "i", "image": "x"}],
        "volumes": [volume, {"name": "e", "emptyDir": {}}, {"name": "p", "persistentVolumeClaim": {"claimName": "p"}}],
        "serviceAccountName": "default",
        "hostNetwork": False,
        "securityContext": {"fsGroup": 1000},
    }
    made = rendered({"template": {"spec": pod}})["spec"]
    assert isinstance(made, dict)
    assert (made["serviceAccountName"], made["automountServiceAccountToken"]) == ("default", False)


@pytest.mark.parametrize(
    ("spec", "source"),
    [(SMALL, {"emptyDir": {}}), (FULL, {"persistentVolumeClaim": {"claimName": "journals"}})],
)
def test_there_is_always_a_journal(spec: dict[str, Any], source: dict[str, Any]) -> None:
    """Without spec.state it goes with its pod: the SDK runs the same code, from the input again in the next pod."""
    pod: Any = rendered(spec)["spec"]
    agent = pod["containers"][0]
    assert {"name": "pinfleet-state", **source} in pod["volumes"]
    assert {"name": "pinfleet-state", "mountPath": "/var/lib/pinfleet/state"} in agent["volumeMounts"]
    assert {"name": "PINFLEET_STATE_URL", "value": "/var/lib/pinfleet/state/journal.db"} in agent["env"]
