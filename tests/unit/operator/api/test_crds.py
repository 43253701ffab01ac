"""The CRDs: what each field owes its reader, and that the files are what the models say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from pinfleet_operator.api import crdgen, keys
from pinfleet_operator.api.models import AgentApproval, AgentDeployment, AgentRun, AgentVersion
from pinfleet_operator.api.models.base import Resource
from tests.unit.operator.api import schema_rules

ROOT = Path(__file__).resolve().parents[4]
BOUNDED = {"description": "A number.", "type": "integer", "minimum": 0, "maximum": 1}

Json = dict[str, Any]
Checker = Callable[[Json], list[str]]

CHECKERS: dict[Checker, dict[str, Json]] = {
    schema_rules.undescribed: {
        "no description": {"type": "boolean"},
        "no sentence": {"type": "boolean", "description": "the flag"},
    },
    schema_rules.unbounded: {
        "a string of any length": {"type": "string"},
        "a number without a maximum": {"type": "integer", "minimum": 0},
        "a list of any length": {"type": "array", "items": BOUNDED, "x-kubernetes-list-type": "atomic"},
        "a list whose merging is left open": {"type": "array", "items": BOUNDED, "maxItems": 3},
        "an object that takes anything": {"type": "object"},
        "a typed object with preserved fields": {"type": "object", schema_rules.PRESERVE: True},
        "a bad item": {"type": "array", "maxItems": 1, "x-kubernetes-list-type": "atomic", "items": {"type": "string"}},
    },
    schema_rules.with_namespace: {"claimNamespace": BOUNDED, "namespace": BOUNDED},
    schema_rules.not_served_yet: {"rollout": BOUNDED, "priority": BOUNDED},
}


def _schema(resource: type[Resource]) -> Json:
    crd = cast("Json", crdgen.crd(resource))
    return cast("Json", crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


@pytest.mark.parametrize("checker", CHECKERS, ids=lambda checker: checker.__name__)
@pytest.mark.parametrize("resource", crdgen.RESOURCES, ids=lambda resource: resource.__name__)
def test_every_field_is_in_order(resource: type[Resource], checker: Checker) -> None:
    """Every field is described and bounded, points into no other namespace, and does something today."""
    assert checker(_schema(resource)) == []


@pytest.mark.parametrize(
    ("checker", "name", "node"),
    [(checker, name, node) for checker, bad in CHECKERS.items() for name, node in bad.items()],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_field_out_of_order_is_found(checker: Checker, name: str, node: Json) -> None:
    """Each checker flags what it is there for, at any depth."""
    deep = {"properties": {"spec": {"type": "object", "description": "It is.", "properties": {name: node}}}}
    assert [path.startswith(f".spec.{name}") for path in checker(deep)] == [True]
    clean = {"properties": {"spec": {"type": "object", "description": "It is.", "properties": {"count": BOUNDED}}}}
    assert checker(clean) == []


@pytest.mark.parametrize("path", crdgen.files())
def test_the_files_are_what_the_models_say(path: str) -> None:
    """The committed file is the generated one; `make generate` mends it."""
    assert crdgen.files()[path] == (ROOT / path).read_text(encoding="utf-8")


def test_the_same_models_give_the_same_bytes() -> None:
    """Generating twice gives the same text, and reading it back the same document."""
    first, second = crdgen.files(), crdgen.files()
    assert first == second
    for resource in crdgen.RESOURCES:
        assert crdgen.crd(resource) == yaml.safe_load(first[f"crds/{resource.crd.plural}.yaml"])


@pytest.mark.parametrize(
    ("resource", "short"),
    [(AgentDeployment, "adep"), (AgentVersion, "aver"), (AgentRun, "arun"), (AgentApproval, "aappr")],
)
def test_names(resource: type[Resource], short: str) -> None:
    """Each kind has its short name, its list kind, the category, one served version, and a status of its own."""
    crd = cast("Json", crdgen.crd(resource))
    names, versions = crd["spec"]["names"], crd["spec"]["versions"]
    assert names["shortNames"] == [short]
    assert names["listKind"] == f"{resource.__name__}List"
    assert names["categories"] == ["pinfleet"]
    assert crd["metadata"]["name"] == f"{names['plural']}.{keys.GROUP}"
    assert [(version["name"], version["storage"]) for version in versions] == [("v1alpha1", True)]
    assert versions[0]["subresources"] == {"status": {}}


def test_only_the_phase_has_a_default_in_a_status() -> None:
    """A default that the API server adds to a status is a difference that the operator would write against for ever."""
    found = {
        (resource.__name__, path): node["default"]
        for resource in crdgen.RESOURCES
        for path, node in schema_rules.fields(_schema(resource))
        if path.startswith(".status") and "default" in node
    }
    assert found == {("AgentRun", ".status"): {}, ("AgentRun", ".status.phase"): "Pending"}


def test_a_version_has_no_default_that_could_change_it() -> None:
    """A stored version reads the same after an upgrade: but for the schema version, nothing is filled in."""
    spec = [(path, node) for path, node in schema_rules.fields(_schema(AgentVersion)) if path.startswith(".spec")]
    assert {path: node["default"] for path, node in spec if "default" in node} == {".spec.schemaVersion": 1}
