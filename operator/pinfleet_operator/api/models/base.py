"""What the API's models are made of: the pydantic base, object metadata, and what a CRD adds to a schema.

Callers: the three resources beside it; ``api.crdgen`` turns them into CRDs. Fields are camelCase in YAML and snake_case
in Python; the string below a field is its description, as ``kubectl explain`` shows it.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue, WithJsonSchema
from pydantic.config import JsonDict

_ACRONYMS: Final = {"uid": "UID", "ttl": "TTL"}

PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"

AnyJson = Annotated[JsonValue, WithJsonSchema({PRESERVE: True})]
"""Any JSON. Typeless: an object with preserved fields would be compared by its number of keys alone in CEL."""

AnyObject = Annotated[dict[str, JsonValue], WithJsonSchema({PRESERVE: True})]
"""A JSON object that somebody else's schema describes; typeless in the CRD for the same reason."""


def to_camel(name: str) -> str:
    """Write a Python name as Kubernetes does: ``pod_uid`` is ``podUID``."""
    first, *rest = name.split("_")
    return first + "".join(_ACRONYMS.get(word, word.capitalize()) for word in rest)


class Model(BaseModel):
    """Base of every model: immutable, camelCase outside, unknown fields ignored.

    Unknown fields: the API server has pruned what its schema does not know, and an operator that is older than the CRD
    must still read the object.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )


class ObjectMeta(Model):
    """The part of Kubernetes' own metadata that pinfleet reads."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: AwareDatetime | None = None
    deletion_timestamp: AwareDatetime | None = None
    finalizers: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


@dataclass(frozen=True)
class Column:
    """One column of ``kubectl get``."""

    name: str
    json_path: str
    type: str = "string"  # string, integer or date
    priority: int = 0  # above 0: shown with -o wide only
    description: str = ""


@dataclass(frozen=True)
class Crd:
    """What a CRD says beside its schema."""

    plural: str
    short_name: str
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()  # JSON paths that a field selector may name


@dataclass(frozen=True)
class Rule:
    """One CEL rule of the API server.

    A rule that names ``oldSelf`` is skipped where its node is absent on the old side. Rules on optional fields stand
    at the object's root for that reason, and say what happens when the field is removed.
    """

    rule: str
    message: str
    message_expression: str = ""  # CEL that builds a better message; the message above is shown if it fails
    field_path: str = ""  # field that the error names; "": the node that holds the rule


class Resource(Model):
    """Base of the three resources; each adds its ``spec`` and ``status``."""

    crd: ClassVar[Crd]

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()


def cel(*rules: Rule) -> JsonDict:
    """Schema extension that holds CEL rules, for a model's ``json_schema_extra``."""
    return {"x-kubernetes-validations": [_rule(rule) for rule in rules]}


def _rule(rule: Rule) -> JsonDict:
    written: JsonDict = {"rule": rule.rule, "message": rule.message}
    if rule.message_expression:
        written["messageExpression"] = rule.message_expression
    if rule.field_path:
        written["fieldPath"] = rule.field_path
    return written


def list_map(key: str) -> JsonDict:
    """Schema extension: the list's items are told apart by `key`, so that two writers can own one each."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


def atomic() -> JsonDict:
    """Schema extension: the list has one owner and is replaced whole."""
    return {"x-kubernetes-list-type": "atomic"}
