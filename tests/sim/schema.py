"""What the API server refuses of a run: the transition rules of ``api.models.run_rules``, in Python."""

from typing import Any

from pinfleet_operator.api.models.run_rules import EDGES, TERMINAL
from pinfleet_operator.errors import Rejected

Json = dict[str, Any]


def run_rules(plural: str, old: Json | None, new: Json | None) -> None:
    """Raise where the CRD's rules refuse a change of a run."""
    if plural != "agentruns" or old is None or new is None:
        return
    was, now = old.get("status", {}), new.get("status", {})
    for why, holds in _checks(was, now).items():
        if not holds:
            raise Rejected(f"cannot patch AgentRun {new['metadata']['name']}: {why}")
    before, after = old["spec"], new["spec"]
    if before["task"] != after["task"] or (before.get("cancel") and not after.get("cancel")):
        raise Rejected(f"cannot patch AgentRun {new['metadata']['name']}: its spec is fixed")


def _checks(was: Json, now: Json) -> dict[str, bool]:
    phase = was.get("phase")
    return {
        "a run stays on its version": "version" not in was or now.get("version") == was["version"],
        "its limits are fixed": "limits" not in was or now.get("limits") == was["limits"],
        "its epoch never falls": "epoch" not in was or now.get("epoch", -1) >= was["epoch"],
        "an assignment raises the epoch": _is_assignment_good(was, now),
        "its phase cannot change in this way": (
            phase is None or now.get("phase") == phase or now.get("phase") in EDGES[phase]
        ),
        "it has ended": phase not in TERMINAL or now == was,
    }


def _is_assignment_good(was: Json, now: Json) -> bool:
    if now.get("phase") != "Running":
        return True
    if was.get("phase") == "Running" and all(key not in was or now.get(key) == was[key] for key in ("podUID", "boot")):
        return True
    return bool(now.get("epoch", 0) > was.get("epoch", 0))
