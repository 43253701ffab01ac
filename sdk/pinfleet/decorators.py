"""What ``@agent.step(...)`` and ``@agent.tool(...)`` return, for type checkers: arguments and results stay."""

from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from pinfleet.call import Call

P = ParamSpec("P")
R = TypeVar("R")


class StepDecorator(Protocol):
    """What ``@agent.step(...)`` returns."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Callable[P, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, Coroutine[Any, Any, R]]: ...


class ToolDecorator(Protocol):
    """What ``@agent.tool(...)`` returns: callers never pass the call."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[Call, P], Coroutine[Any, Any, R]], /
    ) -> Callable[P, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Call, P], R], /) -> Callable[P, Coroutine[Any, Any, R]]: ...
