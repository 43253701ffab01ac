"""What the API server lets happen to a run: its phases, their edges, and the CEL rules that hold them.

``agent_run`` puts the rules into the schema; planners and tests may read the edges. A rule about status stands at the
object's root, since a transition rule is skipped where its own node is absent on the old side, and it covers removal:
otherwise a field could be removed in one write and set anew in the next.
"""

import json
from typing import Final, Literal

from pinfleet_operator.api.models.base import Rule

RunPhase = Literal["Pending", "Running", "Parked", "Held", "Succeeded", "Failed", "Cancelled", "TimedOut"]

TERMINAL: Final[tuple[RunPhase, ...]] = ("Succeeded", "Failed", "Cancelled", "TimedOut")

EDGES: Final[dict[RunPhase, tuple[RunPhase, ...]]] = {
    "Pending": ("Running", "Held", *TERMINAL),
    "Running": ("Pending", "Parked", "Held", *TERMINAL),
    "Parked": ("Running", "Held", *TERMINAL),
    "Held": ("Pending", "Failed", "Cancelled", "TimedOut"),
    "Succeeded": (),
    "Failed": (),
    "Cancelled": (),
    "TimedOut": (),
}
"""From each phase, the phases that may follow it; to stay in a phase is always allowed."""


def _had(field: str) -> str:
    return f"has(oldSelf.status) && has(oldSelf.status.{field})"


def _has(field: str) -> str:
    return f"has(self.status) && has(self.status.{field})"


def _literal(value: object) -> str:
    """Write a list or a map of strings as CEL does, which is JSON with single quotes."""
    return json.dumps(value).replace('"', "'")


def _write_once(field: str, message: str) -> Rule:
    return Rule(
        rule=f"!({_had(field)}) || ({_has(field)} && self.status.{field} == oldSelf.status.{field})",
        message=message,
        field_path=f".status.{field}",
    )


_PIN: Final = _write_once("version", "a run stays on the version that it was pinned to")

_LIMITS: Final = _write_once("limits", "a run's limits are fixed when it is pinned")

_EPOCH: Final = Rule(
    rule=f"!({_had('epoch')}) || ({_has('epoch')} && self.status.epoch >= oldSelf.status.epoch)",
    message="a run's epoch never falls: another writer has assigned it since",
    field_path=".status.epoch",
)

# Two pods that hold the same epoch would both pass the journal's fence.
_ASSIGNMENT: Final = Rule(
    rule=(
        f"!({_has('phase')}) || self.status.phase != 'Running'"
        f" || ({_had('phase')} && oldSelf.status.phase == 'Running'"
        " && (!has(oldSelf.status.podUID) || (has(self.status.podUID) && self.status.podUID == oldSelf.status.podUID))"
        " && (!has(oldSelf.status.boot) || (has(self.status.boot) && self.status.boot == oldSelf.status.boot)))"
        f" || ({_has('epoch')} && self.status.epoch > ({_had('epoch')} ? oldSelf.status.epoch : 0))"
    ),
    message="an assignment to a pod raises the run's epoch",
    field_path=".status.epoch",
)

_EDGES: Final = Rule(
    rule=(
        f"!({_had('phase')}) || ({_has('phase')} && (self.status.phase == oldSelf.status.phase"
        f" || self.status.phase in {_literal(EDGES)}[oldSelf.status.phase]))"
    ),
    message="a run cannot change its phase in this way",
    message_expression="'a run that is ' + oldSelf.status.phase + ' cannot become ' + self.status.phase",
    field_path=".status.phase",
)

# The whole status: a typeless field such as the result cannot be named, and nothing is written after the end.
_FINAL: Final = Rule(
    rule=(
        f"!({_had('phase')}) || !(oldSelf.status.phase in {_literal(TERMINAL)})"
        " || (has(self.status) && self.status == oldSelf.status)"
    ),
    message="the status of a run that has ended is final",
    field_path=".status",
)

ROOT_RULES: Final = (_PIN, _LIMITS, _EPOCH, _ASSIGNMENT, _EDGES, _FINAL)

SPEC_RULES: Final = (
    Rule(
        rule="self.task == oldSelf.task",
        message="a run's task cannot be changed: create another AgentRun",
        field_path=".task",
    ),
    # What a run has seen cannot be unsaid; at the parent, since the rule of a removed list is not asked.
    Rule(
        rule=(
            "!has(oldSelf.messages) || (has(self.messages) && self.messages.size() >= oldSelf.messages.size()"
            " && oldSelf.messages.all(i, message, self.messages[i] == message))"
        ),
        message="messages can only be added, at the end",
        field_path=".messages",
    ),
    # A pod may have acted on it already; a silent "no longer" would be a promise that nobody can keep.
    Rule(
        rule="!has(oldSelf.cancel) || !oldSelf.cancel || (has(self.cancel) && self.cancel)",
        message="a cancel cannot be taken back: create another AgentRun",
        field_path=".cancel",
    ),
)
