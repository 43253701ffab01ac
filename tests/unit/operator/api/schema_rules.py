"""What every schema of this API owes its users, as functions that list what is wrong. Each has a negative control."""

import re
from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

PRESERVE = "x-kubernetes-preserve-unknown-fields"
KUBERNETES_OWN = frozenset({"apiVersion", "kind", "metadata"})

LATER = re.compile(
    r"contract|isolation|migrat|rollout|canary|gates|suspend|budget|respin"
    r"|action|continues|priority",
    re.IGNORECASE,
)
"""Names of what is designed and not served yet."""


def fields(schema: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    """Every field below a schema's root with its path; Kubernetes' own at the root are left out."""
    for name, node in schema.get("properties", {}).items():
        if not path and name in KUBERNETES_OWN:
            continue
        yield f"{path}.{name}", node
        yield from fields(node, f"{path}.{name}")
        if "items" in node:
            yield f"{path}.{name}[]", node["items"]
            yield from fields(node["items"], f"{path}.{name}[]")


def undescribed(schema: Json) -> list[str]:
    """Fields whose description is missing or no sentence. A list's items are described by their list."""
    described = re.compile(r"[A-Z].*[^.]\.$")
    return [
        path
        for path, node in fields(schema)
        if not path.endswith("[]") and not described.match(node.get("description", ""))
    ]


def unbounded(schema: Json) -> list[str]:
    """Fields that could grow without end: strings, numbers and lists without both bounds."""
    return [path for path, node in fields(schema) if not _is_bounded(node)]


def with_namespace(schema: Json) -> list[str]:
    """Fields by which an object could point into another namespace."""
    return [path for path, _ in fields(schema) if "namespace" in path.rpartition(".")[2].lower()]


def not_served_yet(schema: Json) -> list[str]:
    """Fields that are designed and not built: what does nothing must not be offered."""
    return [path for path, _ in fields(schema) if LATER.search(path.rpartition(".")[2])]


def _is_bounded(node: Json) -> bool:
    if node.get(PRESERVE):
        return "type" not in node  # typeless: the API server's own limit on an object's size is its bound
    match node["type"]:
        case "string":
            return "maxLength" in node or "enum" in node or node.get("format") == "date-time"
        case "integer" | "number":
            return "minimum" in node and "maximum" in node
        case "array":
            return "maxItems" in node and "x-kubernetes-list-type" in node
        case "object":
            return bool(node.get("properties"))
    return bool(node["type"] == "boolean")
