"""What a request is, in words: verb, resource, name, and what it is about to say. Pure; the proxy and the plans use it.

Names and words are the same in every run of the scenario, so that the write of one run is found again in another.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]

PATH: Final = re.compile(
    r"^/(?:api|apis/[^/]+)/v[^/]+(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<subresource>[^/]+))?$"
)
RUN: Final = re.compile(r"^/runs/(?P<uid>[^/]+)(?P<ack>/ack)?$")
WRITES: Final = frozenset({"create", "patch", "delete"})
POD_WRITES: Final = frozenset({"offer", "ack", "end"})
VERBS: Final = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}


@dataclass(frozen=True, order=True)
class Call:
    """One request, without what differs between two runs of a scenario."""

    verb: str  # of RBAC, or dry-run; of a pod: state, offer, ack, end
    resource: str  # with its subresource, as in pods/status; of a pod: runs
    name: str = ""  # of the object; empty: a collection
    what: str = ""  # what a write says, such as the phase that it writes

    @property
    def is_write(self) -> bool:
        """Whether it changes something on the API server."""
        return self.verb in WRITES and self.resource != "runs"

    @property
    def is_pod_write(self) -> bool:
        """Whether it changes something in a pod."""
        return self.verb in POD_WRITES and self.resource == "runs"

    @property
    def shape(self) -> tuple[str, str, str]:
        """What it has in common with the same step of another object's life.

        Of the statuses of fleets and versions, which are for people, the switch alone is a step of its own.
        """
        if self.resource in {"agentdeployments/status", "agentversions/status"}:
            is_switch = "=Active" in self.what and "=Draining" in self.what
            return (self.verb, self.resource, "switch" if is_switch else "")
        return (self.verb, self.resource, self.what)

    def __str__(self) -> str:
        return ":".join(part for part in (self.verb, self.resource, self.name, self.what) if part)


def of_api(method: str, path: str, query: Mapping[str, str], body: bytes) -> Call:
    """A request to the API server."""
    found = PATH.match(path)
    if found is None:
        return Call("get", "paths", path)
    resource, name = found["plural"], found["name"] or ""
    if found["subresource"]:
        resource += f"/{found['subresource']}"
    if method == "GET":
        return Call("watch" if query.get("watch") else "get" if name else "list", resource, name)
    given = json.loads(body) if body else {}
    verb = "dry-run" if "dryRun" in query else VERBS.get(method, method.lower())
    if verb in {"create", "dry-run"}:
        name = given["metadata"]["name"]
    return Call(verb, resource, name, _what(resource, given))


def of_pod(method: str, path: str, names: Mapping[str, str]) -> Call:
    """A request to a pod; `names` are the runs' by uid."""
    found = RUN.match(path)
    if found is None:
        return Call(path.strip("/"), "runs")
    verb = "ack" if found["ack"] else {"PUT": "offer", "DELETE": "end"}.get(method, method)
    return Call(verb, "runs", names.get(found["uid"], found["uid"]))


def _what(resource: str, given: Any) -> str:
    if isinstance(given, list):  # a JSON patch
        given = {"status": {each["path"].removeprefix("/status/"): each.get("value") for each in given}}
    status, meta = given.get("status") or {}, given.get("metadata") or {}
    match resource:
        case "agentruns/status":
            return _of_run(status)
        case "agentdeployments/status":
            phases = sorted(f"{each['name']}={each['phase']}" for each in status.get("versions") or [])
            return "+".join(phases)
        case "agentversions/status":
            return str(status.get("phase", ""))
        case "agentdeployments":
            return "hold" if meta.get("finalizers") else "release"
        case "pods":
            return "cordon" if "pinfleet.dev/cordoned" in (meta.get("labels") or {}) and "spec" not in given else ""
        case _:
            return ""


def _of_run(status: Json) -> str:
    phase = str(status.get("phase", ""))
    if phase != "Running":
        return phase
    if "epoch" not in status:
        return "progress"
    return "wake" if status.get("timersFired") else "assign"
