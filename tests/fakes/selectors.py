"""Label and field selectors, as the API server reads them."""

import re
from typing import Any, Final

Json = dict[str, Any]

SELECTABLE: Final = {
    "agentruns": {"status.phase", "status.version", "spec.task.agentDeployment"},
    "pods": {"status.phase", "spec.nodeName", "spec.restartPolicy", "status.podIP"},
}
"""Fields beside metadata.name and metadata.namespace."""


class BadSelectorError(Exception):
    """The selector cannot be read, or names a field that cannot be selected by."""


def matches(plural: str, item: Json, labels: str | None, fields: str | None) -> bool:
    """Whether an object fits both selectors."""
    found = item["metadata"].get("labels") or {}
    return all(_fits_label(found, term) for term in _terms(labels)) and all(
        _fits_field(plural, item, term) for term in _terms(fields)
    )


def check_fields(plural: str, fields: str | None) -> None:
    """Refuse a field selector that the real server refuses, also where there is no object to test it on."""
    for term in _terms(fields):
        _field_of(plural, term)


def _terms(selector: str | None) -> list[str]:
    return [term.strip() for term in re.split(r",(?![^(]*\))", selector or "") if term.strip()]


def _fits_label(labels: dict[str, str], term: str) -> bool:
    among = re.fullmatch(r"(\S+)\s+(in|notin)\s+\(([^)]*)\)", term)
    if among:
        key, verb, values = among.groups()
        return (labels.get(key) in {value.strip() for value in values.split(",")}) == (verb == "in")
    compared = re.fullmatch(r"([^!=]+)(!=|==|=)([^!=]*)", term)
    if compared:
        key, verb, value = compared.groups()
        return (labels.get(key) == value) == (verb != "!=")
    return (term.lstrip("!") in labels) != term.startswith("!")


def _field_of(plural: str, term: str) -> tuple[str, str, str]:
    compared = re.fullmatch(r"([^!=]+)(!=|==|=)([^!=]*)", term)
    if compared is None:
        raise BadSelectorError(f"invalid selector: {term!r}")
    path, verb, value = compared.groups()
    if path not in {"metadata.name", "metadata.namespace", *SELECTABLE.get(plural, ())}:
        raise BadSelectorError(f"field label not supported: {path}")
    return path, verb, value


def _fits_field(plural: str, item: Json, term: str) -> bool:
    path, verb, value = _field_of(plural, term)
    found: Any = item
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return (str(found or "") == value) == (verb != "!=")
