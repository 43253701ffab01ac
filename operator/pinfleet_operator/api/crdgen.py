"""Turns the models into CustomResourceDefinitions and writes them as YAML. Pure; ``hack/generate.py`` writes the files.

The same models give the same bytes: keys are sorted, nothing depends on time or place.
"""

from typing import Final, cast

import yaml
from pydantic import JsonValue

from pinfleet_operator.api import keys
from pinfleet_operator.api.models import AgentApproval, AgentDeployment, AgentRun, AgentVersion
from pinfleet_operator.api.models.base import Column, Resource
from pinfleet_operator.api.structural import Schema, structural

RESOURCES: Final[tuple[type[Resource], ...]] = (AgentApproval, AgentDeployment, AgentRun, AgentVersion)
CATEGORY: Final = "pinfleet"
HEADER: Final = "# Generated from operator/pinfleet_operator/api/models: edit those and run `make generate`.\n"

_CHART_HEAD: Final = "{{- if .Values.crds.install }}\n"
_CHART_TAIL: Final = "{{- end }}\n"

# Kubernetes' own part of every object; it describes and validates it itself.
_OWN: Final[dict[str, Schema]] = {
    "apiVersion": {
        "type": "string",
        "description": "Version of the schema of this object, such as pinfleet.dev/v1alpha1.",
    },
    "kind": {"type": "string", "description": "Kind of this object."},
    "metadata": {"type": "object"},
}


def crd(resource: type[Resource]) -> Schema:
    """The CustomResourceDefinition of `resource`."""
    facts, kind = resource.crd, resource.__name__
    version: Schema = {
        "name": keys.API_VERSION.removeprefix(f"{keys.GROUP}/"),
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_column(column) for column in facts.columns],
        "schema": {"openAPIV3Schema": _root(resource)},
        "subresources": {"status": {}},
    }
    if facts.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in facts.selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{facts.plural}.{keys.GROUP}"},
        "spec": {
            "group": keys.GROUP,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": facts.plural,
                "singular": kind.lower(),
                "shortNames": [facts.short_name],
                "categories": [CATEGORY],
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    }


def files() -> dict[str, str]:
    """Every generated CRD file: path from the repository's root -> its text."""
    found: dict[str, str] = {}
    for resource in RESOURCES:
        text = as_yaml(crd(resource))
        found[f"crds/{resource.crd.plural}.yaml"] = HEADER + text
        found[f"charts/pinfleet/templates/crds/{resource.crd.plural}.yaml"] = _for_chart(resource, text)
    return dict(sorted(found.items()))


def as_yaml(document: Schema) -> str:
    """YAML of one document: sorted keys, no aliases, no line folding that an editor's width would decide."""
    return yaml.dump(document, Dumper=_NoAliases, sort_keys=True, width=120, allow_unicode=True)


class _NoAliases(yaml.SafeDumper):
    """Writes equal parts out twice instead of as anchors, which not every reader of CRDs follows."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def _root(resource: type[Resource]) -> Schema:
    schema = structural(resource, without=frozenset(_OWN))
    properties = cast("dict[str, JsonValue]", schema["properties"])
    properties.update(_OWN)
    schema["properties"] = dict(sorted(properties.items()))
    return schema


def _column(column: Column) -> Schema:
    out: Schema = {"name": column.name, "jsonPath": column.json_path, "type": column.type}
    if column.priority:
        out["priority"] = column.priority
    if column.description:
        out["description"] = column.description
    return out


def _for_chart(resource: type[Resource], text: str) -> str:
    """The CRD as a template of the chart: upgraded with the operator, kept when the release is uninstalled."""
    name = f"metadata:\n  name: {resource.crd.plural}.{keys.GROUP}\n"
    kept = f"metadata:\n  annotations:\n    helm.sh/resource-policy: keep\n  name: {resource.crd.plural}.{keys.GROUP}\n"
    if "{{" in text or text.count(name) != 1:
        raise ValueError(
            f"cannot make a chart template of {resource.__name__}'s CRD: it would read parts as template code"
        )
    return HEADER + _CHART_HEAD + text.replace(name, kept) + _CHART_TAIL
