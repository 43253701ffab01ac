"""pinfleet: write agents whose runs survive their pods.

The names below are loaded when they are first used, so that importing the package, or only ``pinfleet.wire``, stays
cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pinfleet.agent import Agent as Agent
    from pinfleet.call import Call as Call
    from pinfleet.context import Ctx as Ctx
    from pinfleet.errors import AgentError as AgentError
    from pinfleet.errors import AmbiguousStep as AmbiguousStep
    from pinfleet.errors import BadDeclaration as BadDeclaration
    from pinfleet.errors import BadInput as BadInput
    from pinfleet.errors import Denied as Denied
    from pinfleet.errors import Expired as Expired
    from pinfleet.errors import Fenced as Fenced
    from pinfleet.errors import Incompatible as Incompatible
    from pinfleet.errors import JournalUnavailable as JournalUnavailable
    from pinfleet.errors import NestedStep as NestedStep
    from pinfleet.errors import NotSent as NotSent
    from pinfleet.errors import NotStorable as NotStorable
    from pinfleet.errors import OutcomeUnknown as OutcomeUnknown
    from pinfleet.errors import OutsideRun as OutsideRun
    from pinfleet.errors import Parked as Parked
    from pinfleet.errors import ResultTooLarge as ResultTooLarge
    from pinfleet.errors import StepFailed as StepFailed
    from pinfleet.errors import ToolFailed as ToolFailed
    from pinfleet.migration import RecordedRun as RecordedRun
    from pinfleet.migration import RecordedStep as RecordedStep
    from pinfleet.people import Approval as Approval
    from pinfleet.position import RunInfo as RunInfo
    from pinfleet.position import current as current
    from pinfleet.secret import Secret as Secret

_HOMES: Final = {
    "Agent": "pinfleet.agent",
    "Approval": "pinfleet.people",
    "Call": "pinfleet.call",
    "Ctx": "pinfleet.context",
    "RecordedRun": "pinfleet.migration",
    "RecordedStep": "pinfleet.migration",
    "RunInfo": "pinfleet.position",
    "Secret": "pinfleet.secret",
    "current": "pinfleet.position",
    **dict.fromkeys(
        (
            "AgentError",
            "AmbiguousStep",
            "BadDeclaration",
            "BadInput",
            "Denied",
            "Expired",
            "Fenced",
            "Incompatible",
            "JournalUnavailable",
            "NestedStep",
            "NotSent",
            "NotStorable",
            "OutcomeUnknown",
            "OutsideRun",
            "Parked",
            "ResultTooLarge",
            "StepFailed",
            "ToolFailed",
        ),
        "pinfleet.errors",
    ),
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - one list, also used to load


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'pinfleet' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
