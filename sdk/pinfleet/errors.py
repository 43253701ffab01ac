"""Every error that an agent's author or an image's builder can meet.

::

    AgentError
    +-- BadDeclaration       a decorated function cannot be a step or a main; said at import
    +-- BadConfiguration     the environment of the pod lacks something; names what sets it
    +-- BadInput             the run's input does not fit the type that main declares
    +-- OutsideRun           a step was called in a serving process without a run's context
    +-- NestedStep           a step was called inside a step
    +-- AmbiguousStep        two calls of one name overlapped in one scope
    +-- Incompatible         the journal does not fit this code
    +-- ResultTooLarge       the run's result is over its limit
    +-- Denied               a person said no
    +-- Expired              nobody answered in time: no message, no decision
    +-- OutcomeUnknown       a call was begun, and nobody knows whether it acted
    +-- NotSent              raised by ``reconcile=``: the provider does not know the call, so it may be sent
    +-- StepFailed           a step raised; the same live and on replay
    |   +-- NotStorable      a value that the journal cannot hold
    |   `-- ToolFailed       a tool raised
    `-- JournalError
        +-- JournalUnavailable   the database does not answer now; trying again may help
        `-- JournalRefused       this database cannot be used; trying again does not help
    RunStopped (BaseException)
    +-- Parked               the run gave its pod back; this code is no longer it
    `-- Fenced               another execution has the run, or it has ended

The last two derive from BaseException: frameworks swallow an Exception or tell it to the model.
"""

from typing import Final

from pinfleet.secret import scrubbed


class AgentError(Exception):
    """Base of every error of this package that an author may catch."""


class BadDeclaration(AgentError):
    """A decorated function cannot be used as it is declared."""


class BadConfiguration(AgentError):
    """The process cannot serve with the environment that it was given."""


class BadInput(AgentError):
    """The run's input does not fit the type that main declares."""


class OutsideRun(AgentError):
    """A step was called in a serving process by code that has no run's context (a bare thread, an executor)."""


class NestedStep(AgentError):
    """A step was called inside a step; only the outer one would be recorded."""


class AmbiguousStep(AgentError):
    """Two calls of one name overlapped in one scope, so their order is not an identity."""


class Incompatible(AgentError):
    """The journal of the run does not fit this code."""


class ResultTooLarge(AgentError):
    """The run's result is over the size that the run object holds."""


class Denied(AgentError):
    """A person decided against what was asked.

    Args:
        what: What was asked.
        by: Who decided.
        comment: What that person said.
    """

    def __init__(self, what: str, by: str, comment: str = "") -> None:
        super().__init__(f"{what}: denied by {by}" + (f": {comment}" if comment else ""))
        self.what = what
        self.by = by
        self.comment = comment


class Expired(AgentError):
    """Nobody answered in time."""


class OutcomeUnknown(AgentError):
    """A call was begun and has no answer: it may have acted, or not.

    It is no ToolFailed: code that tries another way after a failure must not do so after this. A tool may raise it
    itself, where its provider leaves it in doubt.
    """


class NotSent(AgentError):
    """A ``reconcile=`` function says that the provider does not know the call."""


class StepFailed(AgentError):
    """A step raised.

    Args:
        type: Class name of what it raised.
        message: Its text.
    """

    def __init__(self, type: str, message: str) -> None:  # noqa: A002 - the field's name on the wire
        super().__init__(f"{type}: {message}")
        self.type = type
        self.message = message


class NotStorable(StepFailed):
    """A value that the journal cannot hold.

    Args:
        step: The step whose value it is.
        field: Path of the value, such as ``result.items[3].price``.
        why: What is wrong with it.
    """

    def __init__(self, step: str, field: str, why: str) -> None:
        super().__init__("NotStorable", f"{step}: {field}: {why}")
        self.step = step
        self.field = field
        self.why = why


class ToolFailed(StepFailed):
    """A tool raised."""


class JournalError(AgentError):
    """The journal did not do what was asked."""


class JournalUnavailable(JournalError):
    """The database does not answer now: locked, full, failing. Trying again may help."""


class JournalRefused(JournalError):
    """The database cannot be used as it is: not on a local disk, damaged, of a newer major."""


class RunStopped(BaseException):
    """This execution of the run is over; whatever its code still does is ignored."""


class Parked(RunStopped):
    """The run gave its pod back."""


class Fenced(RunStopped):
    """Another execution has the run, or the run has ended."""


MESSAGE_LIMIT: Final = 2_048
"""Longest text of a failure that is reported; the object's status holds it."""


def describe(error: BaseException) -> tuple[str, str]:
    """Return the class name and the text of an error, cut to what a status holds, encodable, without secrets."""
    if isinstance(error, StepFailed) and type(error) is StepFailed:
        return error.type, scrubbed(error.message)
    try:
        text = error.message if isinstance(error, StepFailed) else str(error)
    except Exception as broken:  # noqa: BLE001 - an author's __str__ may raise anything
        text = f"(its text cannot be read: {type(broken).__name__})"
    return type(error).__name__, scrubbed(text).encode("utf-8", "replace").decode()[:MESSAGE_LIMIT]
