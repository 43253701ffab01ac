"""The usual mistakes in manifests: each gets a message that says what to write instead, and stalls nothing else."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from hack.stage import Json, OperatorProcess, StageError
from tests.integration.fleet import TERMINAL, Fleet

pytestmark = pytest.mark.cluster

Mistake = Callable[[Json], object]  # changes a good manifest
DEEP = 1_500  # levels; the API server takes 10,000


@pytest.fixture
def active(fleet: Fleet, operator: OperatorProcess) -> Fleet:
    """A fleet that is active on v1."""
    fleet.deploy("v1")
    fleet.wait_active("v1")
    return fleet


def refusal_of(fleet: Fleet, manifest: Json) -> str:
    """What kubectl says to a manifest that it must not take."""
    try:
        fleet.stage.apply(manifest, fleet.namespace)
    except StageError as err:
        return str(err)
    raise AssertionError("it was taken")


REFUSED: dict[str, tuple[Mistake, str]] = {
    "no template": (lambda m: m["spec"].pop("template"), "spec.template: Required value"),
    "an unknown field": (lambda m: m["spec"].update(replica=2), 'unknown field "spec.replica"'),
    "limits of the wrong type": (
        lambda m: m["spec"].update(limits={"maxSteps": "five"}),
        'spec.limits.maxSteps in body must be of type integer: "string"',
    ),
}


@pytest.mark.case("manifest: no template", "manifest: an unknown field", "manifest: limits of the wrong type")
@pytest.mark.parametrize(("mistake", "words"), REFUSED.values(), ids=REFUSED)
def test_kubectl_says_what_is_wrong(fleet: Fleet, mistake: Mistake, words: str) -> None:
    """What the schema can tell is refused at once, and the message names the field."""
    manifest = fleet.manifest()
    mistake(manifest)
    assert words in refusal_of(fleet, manifest)


def container(manifest: Json) -> Json:
    """The agent's container."""
    found: Json = manifest["spec"]["template"]["spec"]["containers"][0]
    return found


def two_containers(manifest: Json) -> None:
    """Two, and none is called agent."""
    container(manifest)["name"] = "main"
    manifest["spec"]["template"]["spec"]["containers"].append({"name": "proxy", "image": "registry.local/steps:v1"})


def restricted(manifest: Json) -> None:
    """What Pod Security's strictest level asks for."""
    container(manifest)["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


STALLED: dict[str, tuple[Mistake, str, str]] = {
    "containers": (two_containers, "InvalidTemplate", "name the one that serves the run protocol agent"),
    "variable": (
        lambda m: container(m)["env"].append({"name": "PINFLEET_PORT", "value": "1"}),
        "InvalidTemplate",
        "sets PINFLEET_PORT: PINFLEET_* is set by pinfleet; remove it",
    ),
    "typo": (
        lambda m: container(m).update(comand=["pinfleet-agent"]),
        "InvalidTemplate",
        'unknown field "spec.containers[0].comand"',
    ),
    "claim": (
        lambda m: m["spec"].update(state={"sqlite": {"claimName": "journals"}}),
        "ClaimNotFound",
        "has no PersistentVolumeClaim journals; create it",
    ),
    "security": (lambda _: None, "PodsRefused", "violates PodSecurity"),
    "quota": (restricted, "PodsRefused", "exceeded quota: pods"),
}
"""By the fleet's name: the mistake, the reason of Stalled, and words of its message."""


def forbid_more_pods(fleet: Fleet) -> None:
    """The namespace has one pod, and takes none beside it, nor any that is not locked down."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "pods"}, "spec": {"hard": {"pods": "1"}}}
    fleet.stage.apply(quota, fleet.namespace)
    fleet.stage.wait_for(
        "the quota to count",
        lambda: fleet.stage.get("resourcequota", "pods", fleet.namespace).get("status", {}).get("used"),
    )
    label = "pod-security.kubernetes.io/enforce=restricted"
    fleet.stage.kubectl("label", "namespace", fleet.namespace, label)


@pytest.mark.case(
    "manifest: two containers and none is the agent's",
    "manifest: a reserved variable",
    "manifest: a missing claim",
    "manifest: a quota or Pod Security refuses the pods",
)
def test_a_fleet_that_cannot_run_says_what_to_write(active: Fleet) -> None:
    """Fleets with a mistake each are Stalled with its reason, and one beside them goes on serving."""
    forbid_more_pods(active)
    for name, (mistake, _, _) in STALLED.items():
        manifest = active.manifest()
        manifest["metadata"]["name"] = name
        mistake(manifest)
        active.stage.apply(manifest, active.namespace)

    def found() -> dict[str, str]:
        conditions = {name: active.condition("Stalled", name) for name in STALLED}
        return {
            name: said.get("reason", "") if STALLED[name][2] in said.get("message", "") else str(said)
            for name, said in conditions.items()
        }

    expected = {name: reason for name, (_, reason, _) in STALLED.items()}
    try:
        active.stage.wait_for("each to be stalled", lambda: found() == expected, 30)
    except StageError:
        assert found() == expected
    for name in ("containers", "variable", "typo"):
        assert active.condition("Accepted", name)["status"] == "False"
    active.start("run", steps=1)
    assert active.wait_phase("run", "Succeeded")["version"] == "v1"
    assert active.condition("Ready")["status"] == "True"


@pytest.mark.case("INV-18", "manifest: a version's name kept while its image changes")
def test_a_versions_name_is_not_used_again(active: Fleet) -> None:
    """Everybody's first edit: the image changes, spec.version stays; v1 serves on, and the message has a free name."""
    active.deploy("v1", image="registry.local/steps:v2")
    active.stage.wait_for("a word", lambda: active.condition("Accepted").get("status") == "False")
    accepted, stalled = active.condition("Accepted"), active.condition("Stalled")
    active.start("run", steps=1)

    assert accepted["reason"] == stalled["reason"] == "VersionNameReused"
    assert "such as v2, or remove spec.version" in accepted["message"]
    assert active.wait_phase("run", "Succeeded")["version"] == "v1"
    active.deploy("v2", image="registry.local/steps:v1")
    active.wait_active("v2")
    active.stage.wait_for("the word to go", lambda: not active.condition("Stalled"))
    assert active.condition("Accepted")["status"] == "True"


def nested(levels: int) -> Any:
    """A list in a list in a list."""
    made: list[Any] = []
    for _ in range(levels):
        made = [made]
    return made


ODD = (
    "\N{ZERO WIDTH JOINER}\N{RIGHT-TO-LEFT OVERRIDE}\N{LINE SEPARATOR}e\N{COMBINING ACUTE ACCENT}"
    "\U0001f469\u200d\U0001f680\x00\x1f\uffff"
)


@pytest.mark.case(
    "runs: odd unicode",
    "runs: an input nested deep",
    "runs: an input that is no JSON",
    "manifest: an input of the wrong type",
)
def test_odd_inputs(active: Fleet) -> None:
    """No JSON is refused, the wrong type and deep nesting fail their runs, odd unicode comes back; nothing falls."""
    path = f"/apis/pinfleet.dev/v1alpha1/namespaces/{active.namespace}/agentruns"
    with pytest.raises(StageError, match=r"(?i)bad request|invalid|unexpected"):
        active.stage.kubectl("create", "--raw", path, "-f", "-", given='{"kind": "AgentRun", "spec": {"task": {')
    deep = json.dumps(nested(100)).replace("[]", "[" * DEEP + "]" * DEEP)
    manifest = (
        '{"apiVersion": "pinfleet.dev/v1alpha1", "kind": "AgentRun", "metadata": {"name": "deep"},'
        f'"spec": {{"task": {{"agentDeployment": "{active.name}", "input": {deep}}}}}}}'
    )
    active.stage.kubectl("create", "--raw", path, "-f", "-", given=manifest)
    active.start_with("text", "look into tea")
    active.start_with("field", {"steps": "many"})
    active.start("odd", steps=1, say=ODD)
    text, field, odd = (active.wait_phase(name, *TERMINAL) for name in ("text", "field", "odd"))
    columns = "jsonpath={.status.phase} {.status.reason} {.status.message}"
    end_of_deep = active.stage.kubectl("get", "agentrun", "deep", "-n", active.namespace, "-o", columns)

    assert odd["result"]["padding"] == ODD
    assert text["phase"] == field["phase"] == "Failed"
    assert "input" in text["message"]
    assert "steps" in field["message"]
    assert end_of_deep.startswith("Failed InputTooDeep ")
