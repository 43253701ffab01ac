"""From a pydantic model to the structural OpenAPI schema that a CRD wants. Pure.

Caller: ``api.crdgen``. Kubernetes takes a subset of JSON schema: no references, no titles, no ``anyOf`` with null
(absence says it), and defaults only where they are meant to be stored.
"""

from typing import Final, cast

from pydantic import BaseModel, JsonValue

from pinfleet_operator.api.models.base import PRESERVE

Schema = dict[str, JsonValue]

_REF: Final = "#/$defs/"
_COPIED: Final = frozenset(
    {
        "type",
        "format",
        "enum",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "pattern",
        "minItems",
        "maxItems",
        "required",
        PRESERVE,
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-validations",
    }
)
_DROPPED: Final = frozenset({"title", "description", "default", "properties", "items", "anyOf", "$ref", "$defs"})


class NotStructural(ValueError):
    """A model uses something that a CRD's schema cannot say."""


def structural(model: type[BaseModel], without: frozenset[str] = frozenset()) -> Schema:
    """The schema of `model` as a CRD's version holds it: inlined, camelCase, without what Kubernetes refuses.

    Args:
        model: the whole object's model, or a part of one.
        without: properties at the root to leave out.
    """
    whole = cast("Schema", model.model_json_schema(by_alias=True, mode="validation"))
    properties = _map(whole["properties"])
    whole["properties"] = {name: properties[name] for name in properties if name not in without}
    return _node(whole, _map(whole.get("$defs", {})), model.__name__)


def _node(node: Schema, defs: Schema, path: str) -> Schema:
    node = _resolve(node, defs, path)
    unknown = sorted(set(node) - _COPIED - _DROPPED)
    if unknown:
        raise NotStructural(f"cannot write {path} as a structural schema: {', '.join(unknown)} has no place there")
    out: Schema = {}
    if "description" in node:
        out["description"] = " ".join(str(node["description"]).split())
    out.update({key: node[key] for key in sorted(_COPIED) if key in node})
    if "default" in node and _is_stored(node["default"]):
        # A model's default is {}: its members' own defaults fill it, so that each number stands once.
        out["default"] = {} if isinstance(node["default"], dict) else node["default"]
    if "properties" in node:
        properties = _map(node["properties"])
        out["properties"] = {name: _node(_map(properties[name]), defs, f"{path}.{name}") for name in sorted(properties)}
    if "items" in node:
        out["items"] = _node(_map(node["items"]), defs, f"{path}[]")
    if "type" not in out and not out.get(PRESERVE):
        raise NotStructural(f"cannot write {path} as a structural schema: it has no type")
    return out


def _resolve(node: Schema, defs: Schema, path: str) -> Schema:
    """Put what a reference or an optional stands for in its place; what is said beside it wins."""
    while "$ref" in node or "anyOf" in node:
        beside = {key: value for key, value in node.items() if key not in {"$ref", "anyOf"}}
        if "$ref" in node:
            node = {**_map(defs[str(node["$ref"]).removeprefix(_REF)]), **beside}
            continue
        kinds = [_map(kind) for kind in cast("list[JsonValue]", node["anyOf"]) if kind != {"type": "null"}]
        if len(kinds) != 1:
            raise NotStructural(f"cannot write {path} as a structural schema: it may be of {len(kinds)} types")
        node = {**kinds[0], **beside}
    return node


def _is_stored(default: JsonValue) -> bool:
    """Whether a default is worth storing: null and an empty list read the same as an absent field."""
    return default is not None and default != []


def _map(value: JsonValue) -> Schema:
    return cast("Schema", value)
