"""What a decorated function was declared to be: its checks at import, its types, its text for the manifest."""

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from types import CodeType, FunctionType
from typing import Any, ClassVar, Final

from pinfleet.call import Call
from pinfleet.errors import BadDeclaration

RETRIED: Final = (ConnectionError, TimeoutError)
"""What ``retries=`` tries again unless it is told otherwise."""


@dataclass(frozen=True)
class StepSpec:
    """A declared step."""

    name: str
    function: FunctionType
    retries: int = 0  # executions after the first one that failed with one of ``retry_on``
    retry_on: tuple[type[Exception], ...] = RETRIED
    tokens: Callable[[Any], int] | None = None  # of a result: how many it used

    kind: ClassVar[typing.Literal["step", "tool"]] = "step"

    @cached_property
    def signature(self) -> inspect.Signature:
        """What callers pass."""
        return inspect.signature(self.function)

    @cached_property
    def _plain(self) -> tuple[str, ...] | None:
        """The names of what callers pass, if each takes one value by its place."""
        parameters = self.signature.parameters.values()
        is_plain = all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
        return tuple(p.name for p in parameters) if is_plain else None

    @property
    def is_async(self) -> bool:
        """Whether the function is a coroutine function; another one runs in a thread."""
        return inspect.iscoroutinefunction(self.function)

    @cached_property
    def returns(self) -> Any:
        """The declared return type; Any if there is none."""
        return hints(self.function).get("return", Any)

    def named(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
        """Return a call's arguments by name, defaults included."""
        if self._plain is not None and not kwargs and len(args) == len(self._plain):  # most are; bind is dear
            return dict(zip(self._plain, args, strict=True))
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)


@dataclass(frozen=True)
class ToolSpec(StepSpec):
    """A declared tool: a step that acts on the world."""

    resend: bool = False  # the provider honours keys: a call without an answer is sent again with its key
    reconcile: Callable[..., Any] | None = None  # asks the provider what became of a call
    is_safe: bool = False  # it changes nothing: it may run at any time, any number of times
    asks: bool = False  # a person decides about a call whose outcome is unknown
    key_lifetime: timedelta = timedelta(hours=23)  # from the first send; providers prune keys after 24 h
    call_timeout: timedelta = timedelta(minutes=10)
    approve: Callable[..., bool] | None = None  # of the arguments: whether a person must approve the call
    show: tuple[str, ...] = ()  # arguments that the person sees
    within: timedelta | None = None  # what the person gets; None: no end
    who: str = ""  # who may decide, in words for people

    kind = "tool"

    @cached_property
    def signature(self) -> inspect.Signature:
        """What callers pass: all but the Call."""
        whole = inspect.signature(self.function)
        return whole.replace(parameters=list(whole.parameters.values())[1:])

    @property
    def policy(self) -> typing.Literal["resend", "reconcile", "unknown"]:
        """What is done with a call that was begun and has no answer."""
        if self.resend or self.is_safe:
            return "resend"
        return "reconcile" if self.reconcile is not None else "unknown"

    def check(self) -> "ToolSpec":
        """Refuse what cannot work, at import.

        Raises:
            BadDeclaration: Says what to write.
        """
        self._check_call()
        if sum((self.resend, self.is_safe, self.reconcile is not None)) > 1:
            raise BadDeclaration(f"tool {self.name!r}: give one of resend=, reconcile= and safe=")
        if self.retries and not (self.resend or self.is_safe):
            raise BadDeclaration(
                f"tool {self.name!r}: retries= may act twice unless the provider honours call.key (write resend=True) "
                "or the tool changes nothing (write safe=True)"
            )
        if self.approve is not None and not self.show:
            raise BadDeclaration(f"tool {self.name!r}: approve= needs show=(...), the arguments that the person sees")
        unknown = sorted(set(self.show) - set(self.signature.parameters))
        if unknown:
            raise BadDeclaration(f"tool {self.name!r}: show={unknown} names no argument of it")
        secret = [name for name in self.show if "Secret[" in str(self.signature.parameters[name].annotation)]
        if secret:
            raise BadDeclaration(f"tool {self.name!r}: show={secret} would show a Secret")
        for role, function in (("approve", self.approve), ("reconcile", self.reconcile)):
            if function is not None:
                self._check_names(role, function)
        return self

    def _check_call(self) -> None:
        parameters = list(inspect.signature(self.function).parameters.values())
        positional = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
        if not parameters or parameters[0].kind not in positional or not _is_call(parameters[0].annotation):
            raise BadDeclaration(
                f"tool {self.name!r} must take the call first: def {self.function.__name__}(call: Call, ...)"
            )

    def _check_names(self, role: str, function: Callable[..., Any]) -> None:
        """Its arguments are those of the tool, by name: it is called with them."""
        parameters = inspect.signature(function).parameters.values()
        named = [p for p in parameters if p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD}]
        named = named[1:] if role == "reconcile" else named
        unknown = sorted({p.name for p in named} - set(self.signature.parameters))
        if unknown:
            known = ", ".join(self.signature.parameters)
            raise BadDeclaration(f"tool {self.name!r}: {role}= takes {unknown}; the tool's arguments are: {known}")

    def given_to(self, function: Callable[..., Any], named: Mapping[str, object]) -> dict[str, object]:
        """Return those of a call's arguments that ``approve`` or ``reconcile`` takes."""
        parameters = inspect.signature(function).parameters
        if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return dict(named)
        return {name: value for name, value in named.items() if name in parameters}


def _is_call(annotation: object) -> bool:
    return annotation is Call or (isinstance(annotation, str) and annotation.rpartition(".")[2] == "Call")


def plain_function(candidate: object, role: str) -> FunctionType:
    """Return the plain function that was decorated, or say why it is none."""
    if not isinstance(candidate, FunctionType):
        kind = type(candidate).__name__
        raise BadDeclaration(f"a {role} must be a plain function; {candidate!r} is a {kind}")
    name = candidate.__qualname__
    parent = name.rpartition(".")[0]
    first = next(iter(inspect.signature(candidate).parameters), "")
    if (parent and not parent.endswith("<locals>")) or first in {"self", "cls"}:
        raise BadDeclaration(f"{role} {name} is a method; its object would not be recorded. Use a function")
    if inspect.isgeneratorfunction(candidate) or inspect.isasyncgenfunction(candidate):
        raise BadDeclaration(f"{role} {name} is a generator; return a value instead")
    if candidate.__name__ == "<lambda>":
        raise BadDeclaration(f"a {role} needs a name that stays; a lambda has none")
    return candidate


def recorded_name(name: str, role: str) -> str:
    """Return a name that may be recorded, or say why it may not."""
    if not name or "/" in name or "#" in name or name.startswith("ctx."):
        raise BadDeclaration(f"{role} name {name!r} may not be empty, hold '/' or '#', or start with 'ctx.'")
    return name


def hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the types that a function declares.

    Raises:
        BadDeclaration: One of them cannot be read.
    """
    try:
        return typing.get_type_hints(function)
    except NameError as err:
        raise BadDeclaration(f"{function.__qualname__}: cannot read its types: {err}") from err


def json_schema(kind: Any, where: str) -> dict[str, Any]:
    """Return the JSON Schema of a declared type.

    Raises:
        BadDeclaration: JSON cannot hold it.
    """
    import msgspec  # noqa: PLC0415 - an agent's module does without until its types are asked for

    try:
        return msgspec.json.schema(kind, schema_hook=_schema_of_another)
    except (TypeError, NotImplementedError) as err:
        raise BadDeclaration(f"{where}: {kind!r} has no JSON Schema: {err}") from err


def _schema_of_another(kind: Any) -> dict[str, Any]:
    """Return the schema of a type that msgspec does not know: pydantic's, which is never imported."""
    if kind is object:
        return {"description": "any JSON"}  # an empty one is taken for none
    if not hasattr(kind, "model_json_schema"):
        raise NotImplementedError(f"{kind!r} is neither JSON nor a dataclass, msgspec or pydantic type")
    found: dict[str, Any] = kind.model_json_schema()
    return found


def code_text(code: CodeType) -> str:
    """Return a text that changes with the code, and with nothing else."""
    constants = (code_text(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts)
    return f"{code.co_code.hex()}|{'|'.join(constants)}|{code.co_names}"
