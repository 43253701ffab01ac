"""What an author declares: an agent, its steps, its main.

Outside a run a decorated function just runs, so an agent can be tested as plain Python. The manifest (names, signatures
and code) is collected while the module is imported.
"""

import hashlib
import inspect
import typing
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cached_property, wraps
from types import CodeType, FunctionType
from typing import Any, Final, ParamSpec, Protocol, TypeVar, overload

from pinfleet.errors import BadDeclaration, OutsideRun
from pinfleet.position import POSITION, PROCESS

P = ParamSpec("P")
R = TypeVar("R")
_MAIN_PARAMETERS: Final = 2


class StepDecorator(Protocol):
    """What ``@agent.step(...)`` returns."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Callable[P, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, Coroutine[Any, Any, R]]: ...


@dataclass(frozen=True)
class StepSpec:
    """A declared step."""

    name: str
    function: FunctionType
    signature: inspect.Signature
    is_async: bool

    @cached_property
    def returns(self) -> Any:
        """The declared return type; Any if there is none."""
        return _hints(self.function).get("return", Any)

    def named(self, args: tuple[object, ...], kwargs: dict[str, object]) -> dict[str, object]:
        """Return a call's arguments by name, defaults included."""
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)


class Agent:
    """An agent: one main and the steps that it takes.

    Args:
        name: For people.
        schema: Number of the shape of the run's state; raise it when recorded values no longer fit.
    """

    def __init__(self, name: str, schema: int = 1) -> None:
        self.name = name
        self.schema = schema
        self.steps: dict[str, StepSpec] = {}
        self._main: list[FunctionType] = []  # one, or none yet

    @overload
    def step(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Callable[P, Coroutine[Any, Any, R]]: ...
    @overload
    def step(self, function: Callable[P, R], /) -> Callable[P, Coroutine[Any, Any, R]]: ...
    @overload
    def step(self, *, name: str | None = None) -> StepDecorator: ...
    def step(self, function: Any = None, *, name: str | None = None) -> Any:
        """Declare a function as a step: recorded once, never run again.

        A sync function becomes awaitable and runs in a thread of its own.

        Args:
            function: An async or sync function; methods, generators and other callables are refused by name.
            name: Recorded name, if not the function's; it must not change while runs are open.

        Raises:
            BadDeclaration: It cannot be a step.
        """
        if function is None:
            return lambda decorated: self._declare(decorated, name)
        return self._declare(function, name)

    def main(self, function: Callable[..., Coroutine[Any, Any, R]]) -> Callable[..., Coroutine[Any, Any, R]]:
        """Declare the async function that is a run: ``main(ctx)`` or ``main(ctx, input)``.

        Raises:
            BadDeclaration: It cannot be one, or the agent has one.
        """
        checked = _function(function, "main")
        if self._main:
            raise BadDeclaration(f"agent {self.name!r} has a main already: {self._main[0].__qualname__}")
        if not inspect.iscoroutinefunction(checked):
            raise BadDeclaration(f"main {checked.__qualname__} must be an async function")
        count = len(inspect.signature(checked).parameters)
        if not 1 <= count <= _MAIN_PARAMETERS:
            raise BadDeclaration(f"main {checked.__qualname__} must take (ctx) or (ctx, input); it takes {count}")
        self._main.append(checked)
        return function

    def entry(self) -> FunctionType:
        """Return the declared main.

        Raises:
            BadDeclaration: There is none.
        """
        if not self._main:
            raise BadDeclaration(f"agent {self.name!r} has no @agent.main")
        return self._main[0]

    @property
    def input_type(self) -> Any:
        """Declared type of the run's input; None if main takes none."""
        parameters = list(inspect.signature(self.entry()).parameters.values())
        if len(parameters) < _MAIN_PARAMETERS:
            return None
        return _hints(self.entry()).get(parameters[1].name, Any)

    @cached_property
    def manifest(self) -> str:
        """Hash of names, signatures and code; it tells code that changed inside one version."""
        digest = hashlib.sha256(f"{self.name}\n{self.schema}\n".encode())
        declared = [("main", self.entry()), *((spec.name, spec.function) for spec in self.steps.values())]
        for name, function in sorted(declared, key=lambda item: item[0]):
            digest.update(f"{name}{inspect.signature(function)}\n".encode())
            digest.update(_code_text(function.__code__).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:16]

    def _declare(self, function: Callable[..., Any], name: str | None) -> Callable[..., Any]:
        checked = _function(function, "step")
        spec = StepSpec(
            name or checked.__name__, checked, inspect.signature(checked), inspect.iscoroutinefunction(checked)
        )
        if spec.name in self.steps:
            raise BadDeclaration(f"agent {self.name!r} has two steps named {spec.name!r}")
        if not spec.name or "/" in spec.name or "#" in spec.name or spec.name.startswith("ctx."):
            raise BadDeclaration(f"step name {spec.name!r} may not be empty, hold '/' or '#', or start with 'ctx.'")
        self.steps[spec.name] = spec

        @wraps(checked)
        async def call(*args: object, **kwargs: object) -> object:
            position = POSITION.get()
            if position is not None:
                return await position.execution.run_step(spec, args, kwargs)
            if PROCESS.serves:
                raise OutsideRun(f"step {spec.name!r} was called without a run: in a bare thread, or in an executor")
            return await checked(*args, **kwargs) if spec.is_async else checked(*args, **kwargs)

        return call


def _function(candidate: object, role: str) -> FunctionType:
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


def _hints(function: FunctionType) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except NameError as err:
        raise BadDeclaration(f"{function.__qualname__}: cannot read its types: {err}") from err


def _code_text(code: CodeType) -> str:
    constants = (_code_text(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts)
    return f"{code.co_code.hex()}|{'|'.join(constants)}|{code.co_names}"


def as_agent(found: object, where: str) -> Agent:
    """Return the agent that a module attribute is.

    Raises:
        BadDeclaration: It is something else, or lacks a main.
    """
    if not isinstance(found, Agent):
        raise BadDeclaration(f"{where} is a {type(found).__name__}, no pinfleet.Agent")
    found.entry()
    return found
