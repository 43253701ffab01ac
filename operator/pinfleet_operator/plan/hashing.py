"""The hash that tells versions apart: over the fields of a fleet's spec that make a version, and nothing else. Pure.

A change here would give every fleet in every cluster a new version: it needs a new edition, and the old one must stay
readable. The golden test holds it.
"""

import hashlib
import json
from decimal import Decimal, InvalidOperation
from typing import Final

from pydantic import JsonValue

from pinfleet_operator.api.models.agent_deployment import AgentDeploymentSpec

EDITION: Final = "sha256-1"

_LEFT_OUT: Final[dict[str, JsonValue]] = {"port": 8080, "runsPerPod": 10, "schemaVersion": 1}
"""Values that count as absent. The API server stores defaults with the object, so that they cannot be told from what
the author wrote. They are this edition's own numbers: a default that changes in the schema must not change a hash."""

_QUANTITY_MAPS: Final = frozenset({"limits", "requests", "overhead"})
_QUANTITIES: Final = frozenset({"sizeLimit", "divisor"})
_SUFFIXES: Final = {
    "Ki": Decimal(1024),
    "Mi": Decimal(1024) ** 2,
    "Gi": Decimal(1024) ** 3,
    "Ti": Decimal(1024) ** 4,
    "Pi": Decimal(1024) ** 5,
    "Ei": Decimal(1024) ** 6,
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(1000),
    "M": Decimal(1000) ** 2,
    "G": Decimal(1000) ** 3,
    "T": Decimal(1000) ** 4,
    "P": Decimal(1000) ** 5,
    "E": Decimal(1000) ** 6,
}


def spec_hash(spec: AgentDeploymentSpec) -> str:
    """The hash of the version that `spec` describes, with its algorithm and edition."""
    fields: dict[str, JsonValue] = {
        "template": spec.template,
        "port": spec.port,
        "runsPerPod": spec.runs_per_pod,
        "schemaVersion": spec.schema_version,
    }
    if spec.state is not None:
        fields["state"] = spec.state.model_dump(mode="json", by_alias=True, exclude_none=True)
    present = {name: value for name, value in fields.items() if _LEFT_OUT.get(name) != value}
    text = json.dumps(_normal(present), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{EDITION}:{hashlib.sha256(text.encode()).hexdigest()}"


def _normal(value: JsonValue) -> JsonValue:
    """`value` without absent members, its quantities in one notation."""
    if isinstance(value, dict):
        return {name: _member(name, each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_normal(each) for each in value]
    return value


def _member(name: str, value: JsonValue) -> JsonValue:
    if name in _QUANTITY_MAPS and isinstance(value, dict):
        return {key: _quantity(each) for key, each in value.items() if each is not None}
    return _quantity(value) if name in _QUANTITIES else _normal(value)


def _quantity(value: JsonValue) -> JsonValue:
    """``1``, ``"1"`` and ``"1000m"`` are the same; what is no quantity stays as it is."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return _normal(value)
    text = str(value)
    suffix = next((each for each in _SUFFIXES if text.endswith(each)), "")
    try:
        number = Decimal(text.removesuffix(suffix)) * _SUFFIXES.get(suffix, Decimal(1))
    except InvalidOperation:
        return value
    return format(number.normalize(), "f") if number.is_finite() else value
