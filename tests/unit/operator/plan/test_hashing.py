"""The version hash: stable for ever, and blind to what makes no version."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinfleet_operator.api.models.agent_deployment import AgentDeploymentSpec
from pinfleet_operator.plan.hashing import spec_hash

TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "support"}},
    "spec": {
        "containers": [
            {
                "name": "agent",
                "image": "registry.local/support:v1",
                "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": 2}},
            }
        ],
        "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}],
    },
}


def hash_of(template: dict[str, Any] | None = None, **given: Any) -> str:
    """Hash of a spec."""
    return spec_hash(AgentDeploymentSpec.model_validate({"template": template or TEMPLATE, **given}))


def with_container(**changes: Any) -> dict[str, Any]:
    """The template with its container changed."""
    spec = TEMPLATE["spec"]
    return {**TEMPLATE, "spec": {**spec, "containers": [{**spec["containers"][0], **changes}]}}


@pytest.mark.case("INV-19")
def test_the_hash_never_changes() -> None:
    """INV-19: an operator or a library that hashed otherwise would replace every version of every fleet."""
    assert hash_of() == "sha256-1:d91efb7b97975f6b02afeca100b11269fda22572e3c215c40dbbf2b22ab284bb"
    other = hash_of(port=9000, runsPerPod=3, schemaVersion=2, state={"sqlite": {"claimName": "journals"}})
    assert other == "sha256-1:d312c834f41373f4fba91cea8d59d3831c59f01665190077f02d8b1b296fafce"


@pytest.mark.parametrize(
    "given",
    [
        {"version": "v7"},
        {"replicas": 3},
        {"maxReplicas": 20},
        {"paused": True},
        {"drain": {"retireDelaySeconds": 5}},
        {"limits": {"maxSteps": 5}},
        {"port": 8080},
        {"runsPerPod": 10},
        {"schemaVersion": 1},
    ],
)
def test_what_makes_no_version_is_not_hashed(given: dict[str, Any]) -> None:
    """A change of scale, limits or rollout, and a default written out, lead to no new version."""
    assert hash_of(**given) == hash_of()


@pytest.mark.parametrize(
    "given",
    [
        {"port": 9000},
        {"runsPerPod": 1},
        {"schemaVersion": 2},
        {"state": {"sqlite": {"claimName": "journals"}}},
        {"state": {"postgres": {"secretName": "journals"}}},
    ],
)
def test_what_makes_a_version_is_hashed(given: dict[str, Any]) -> None:
    """Each field of the run contract makes a new version."""
    assert hash_of(**given) != hash_of()


@pytest.mark.parametrize(
    "resources",
    [
        {"requests": {"cpu": 0.5, "memory": "1024Mi"}, "limits": {"cpu": "2000m"}},
        {"requests": {"memory": "1073741824", "cpu": ".5"}, "limits": {"cpu": "2"}},
        {"requests": {"memory": 1073741824, "cpu": "500000u"}, "limits": {"cpu": "2e0"}},
    ],
)
def test_a_quantity_written_otherwise_is_the_same(resources: dict[str, Any]) -> None:
    """500m and 0.5 are one number: writing the other is no rollout."""
    assert hash_of(with_container(resources=resources)) == hash_of()


@pytest.mark.parametrize(
    "changes",
    [
        {"image": "registry.local/support:v2"},
        {"resources": {"requests": {"cpu": "501m", "memory": "1Gi"}, "limits": {"cpu": 2}}},
        {"env": [{"name": "MODE", "value": "1000m"}]},
    ],
)
def test_a_changed_template_is_another_version(changes: dict[str, Any]) -> None:
    """Whatever the template says is hashed."""
    assert hash_of(with_container(**changes)) != hash_of()


def test_an_environment_value_is_no_quantity() -> None:
    """Only what Kubernetes reads as a quantity is normalised."""
    one, other = ([{"name": "MODE", "value": value}] for value in ("1", "1000m"))
    assert hash_of(with_container(env=one)) != hash_of(with_container(env=other))


def test_an_absent_member_and_a_null_are_the_same() -> None:
    """Kubectl writes creationTimestamp: null into templates, and takes it out again."""
    metadata = {**TEMPLATE["metadata"], "creationTimestamp": None}
    assert hash_of({**TEMPLATE, "metadata": metadata}) == hash_of()


@given(st.permutations(sorted(TEMPLATE["spec"]["containers"][0])))
def test_the_order_of_keys_does_not_matter(order: list[str]) -> None:
    """A manifest that was written by another tool is the same manifest."""
    container = TEMPLATE["spec"]["containers"][0]
    shuffled = {key: container[key] for key in order}
    spec = {**TEMPLATE["spec"], "containers": [shuffled]}
    assert hash_of({"spec": spec, "metadata": TEMPLATE["metadata"]}) == hash_of()
