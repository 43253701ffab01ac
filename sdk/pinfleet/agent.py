"""What an author declares: an agent, its steps and tools, its main.

Outside a run a decorated function just runs, so an agent can be tested as plain Python. The manifest (names, signatures
and code) is collected while the module is imported.
"""

import hashlib
import inspect
import json
import os
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import cached_property, wraps
from types import FunctionType
from typing import TYPE_CHECKING, Any, Concatenate, Final, Literal, ParamSpec, TypeVar, overload

from pinfleet.call import Call
from pinfleet.declared import (
    RETRIED,
    StepSpec,
    ToolSpec,
    code_text,
    hints,
    json_schema,
    plain_function,
    recorded_name,
)
from pinfleet.decorators import StepDecorator, ToolDecorator
from pinfleet.errors import BadDeclaration, OutsideRun
from pinfleet.lazy import Lazy
from pinfleet.position import POSITION, PROCESS

if TYPE_CHECKING:
    from pinfleet import migration
    from pinfleet.journal.interface import Codec
    from pinfleet.migration import Migrate, MigrationSpec
else:
    migration = Lazy("pinfleet.migration")

P = ParamSpec("P")
R = TypeVar("R")
_MAIN_PARAMETERS: Final = 2


class Agent:
    """An agent: one main, the steps that it takes and the tools that it uses.

    Args:
        name: For people.
        schema: Number of the shape of the run's state; raise it when recorded values no longer fit.
        messages: Types of the messages that it receives. One that fits none of them is refused when it comes;
            without them, ``ctx.receive`` refuses what does not fit the type that it waits for.
        codec: Seals what the journal holds of the author's values, such as by encryption; None: as they are.
        secret_key: Returns the key under which arguments that are ``Secret`` are hashed; the same for as long as runs
            are open.
    """

    def __init__(
        self,
        name: str,
        schema: int = 1,
        *,
        messages: tuple[type, ...] = (),
        codec: "Codec | None" = None,
        secret_key: Callable[[], bytes] | None = None,
    ) -> None:
        self.name = name
        self.schema = schema
        self.messages = messages
        self.codec = codec
        self.secret_key = secret_key
        self.steps: dict[str, StepSpec] = {}  # tools too
        self.migrations: list[MigrationSpec] = []
        self.renames: dict[str, tuple[str, ...]] = {}  # former names by the name that a step has now
        self._main: list[FunctionType] = []  # one, or none yet

    @overload
    def step(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Callable[P, Coroutine[Any, Any, R]]: ...
    @overload
    def step(self, function: Callable[P, R], /) -> Callable[P, Coroutine[Any, Any, R]]: ...
    @overload
    def step(
        self,
        *,
        name: str | None = None,
        retries: int = 0,
        retry_on: tuple[type[Exception], ...] = RETRIED,
        tokens: Callable[[Any], int] | None = None,
    ) -> StepDecorator: ...
    def step(self, function: Any = None, *, name: str | None = None, **options: Any) -> Any:
        """Declare a function as a step: recorded once, never run again.

        A sync function becomes awaitable and runs in a thread of its own.

        Args:
            function: An async or sync function; methods, generators and other callables are refused by name.
            name: Recorded name, if not the function's; it must not change while runs are open.
            **options: ``retries``: executions after the first one that failed with one of ``retry_on``, with backoff.
                ``tokens``: returns how many tokens a result used.

        Raises:
            BadDeclaration: It cannot be a step.
        """

        def declare(decorated: Callable[..., Any]) -> Callable[..., Any]:
            checked = plain_function(decorated, "step")
            return self._declare(StepSpec(name or checked.__name__, checked, **options))

        return declare if function is None else declare(function)

    @overload
    def tool(
        self, function: Callable[Concatenate[Call, P], Coroutine[Any, Any, R]], /
    ) -> Callable[P, Coroutine[Any, Any, R]]: ...
    @overload
    def tool(self, function: Callable[Concatenate[Call, P], R], /) -> Callable[P, Coroutine[Any, Any, R]]: ...
    @overload
    def tool(
        self,
        *,
        name: str | None = None,
        resend: bool = False,
        reconcile: Callable[..., Any] | None = None,
        safe: bool = False,
        unknown: Literal["raise", "ask"] = "raise",
        key_lifetime: timedelta = timedelta(hours=23),
        call_timeout: timedelta = timedelta(minutes=10),
        retries: int = 0,
        retry_on: tuple[type[Exception], ...] = RETRIED,
        tokens: Callable[[Any], int] | None = None,
        approve: Callable[..., bool] | None = None,
        show: tuple[str, ...] = (),
        within: timedelta | None = None,
        who: str = "",
    ) -> ToolDecorator: ...
    def tool(
        self,
        function: Any = None,
        *,
        name: str | None = None,
        safe: bool = False,
        unknown: Literal["raise", "ask"] = "raise",
        **options: Any,
    ) -> Any:
        """Declare a function as a tool: a step that acts on the world, and takes a ``Call`` first.

        The call is in the journal before the function runs. What is done on another pod with a call that has no
        answer is the tool's policy: by default nobody knows, and the caller gets OutcomeUnknown.

        Args:
            function: As for a step; its first parameter is the Call, which callers do not pass.
            name: Recorded name, if not the function's.
            safe: It changes nothing: it may run any number of times.
            unknown: ``ask`` lets a person decide whether a call of unknown outcome is sent again.
            **options: ``resend``: the provider honours ``call.key``; the call is sent again with it, for
                ``key_lifetime`` from its first send. ``reconcile``: takes the Call and arguments of the tool, by name;
                returns the result of a call that acted, raises NotSent for one that did not. ``call_timeout``: then a
                call without an answer is unknown. ``retries``, ``retry_on``, ``tokens``: as for a step. ``approve``:
                of the arguments, whether a person must approve; that person sees the arguments that ``show`` names,
                has ``within`` to answer, and is ``who`` in words.

        Raises:
            BadDeclaration: It cannot be a tool.
        """

        def declare(decorated: Callable[..., Any]) -> Callable[..., Any]:
            checked = plain_function(decorated, "tool")
            spec = ToolSpec(name or checked.__name__, checked, is_safe=safe, asks=unknown == "ask", **options)
            return self._declare(spec.check())

        return declare if function is None else declare(function)

    def renamed(self, former: str, *, to: str) -> None:
        """Say that a declared step or tool had another name: what was recorded under it is this one's.

        Args:
            former: The name that open runs have recorded; no step may bear it now.
            to: The name that it has now.

        Raises:
            BadDeclaration: Nothing is declared under the new name, or something is under the former one.
        """
        if to not in self.steps:
            raise BadDeclaration(f"agent {self.name!r} declares no step {to!r} to which {former!r} could be renamed")
        if former in self.steps:
            raise BadDeclaration(f"agent {self.name!r} still declares {former!r}; a renamed step has one name")
        self.renames[to] = (former, *self.renames.get(to, ()))

    def migration(self, *, from_: int, to: int) -> "Callable[[Migrate], Migrate]":
        """Declare how runs that were recorded under an older schema become runs of this code.

        The function changes a ``RecordedRun`` in place; it takes no steps, and runs once for each run, in the pod that
        takes it up. Its changes are stored in one transaction, if this code goes on with them; what they replace is
        kept.

        Args:
            from_: ``schema=`` of the code that recorded the run.
            to: Of this code, or of one that another migration goes on from.

        Raises:
            BadDeclaration: It cannot be one, or there is one from the same schema.
        """

        def declare(function: "Migrate") -> "Migrate":
            spec = migration.declared(function, from_, to, self.schema)
            if any(each.from_ == from_ for each in self.migrations):
                raise BadDeclaration(f"agent {self.name!r} has two migrations from schema {from_}")
            self.migrations.append(spec)
            return function

        return declare

    def main(self, function: Callable[..., Coroutine[Any, Any, R]]) -> Callable[..., Coroutine[Any, Any, R]]:
        """Declare the async function that is a run: ``main(ctx)`` or ``main(ctx, input)``.

        Raises:
            BadDeclaration: It cannot be one, or the agent has one.
        """
        checked = plain_function(function, "main")
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
        return hints(self.entry()).get(parameters[1].name, Any)

    @cached_property
    def schemas(self) -> dict[str, dict[str, Any]]:
        """JSON Schemas of what the run is given and gives: ``input``, ``result``, and each message by its type's name.

        Raises:
            BadDeclaration: A declared type is none that JSON can hold.
        """
        result = hints(self.entry()).get("return", Any)
        declared = {"input": self.input_type, "result": result, **{kind.__name__: kind for kind in self.messages}}
        return {name: json_schema(kind, f"{self.name}: {name}") for name, kind in declared.items()}

    @cached_property
    def manifest(self) -> str:
        """Hash of names, signatures, schemas and code; it tells code that changed inside one version."""
        digest = hashlib.sha256(f"{self.name}\n{self.schema}\n".encode())
        digest.update(json.dumps(self.schemas, sort_keys=True).encode())
        declared = [("main", self.entry()), *((spec.name, spec.function) for spec in self.steps.values())]
        for name, function in sorted(declared, key=lambda item: item[0]):
            digest.update(f"{name}{inspect.signature(function)}\n".encode())
            digest.update(code_text(function.__code__).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:16]

    def _declare(self, spec: StepSpec) -> Callable[..., Any]:
        name = recorded_name(spec.name, spec.kind)
        if name in self.steps:
            raise BadDeclaration(f"agent {self.name!r} has two steps named {name!r}")
        self.steps[name] = spec

        @wraps(spec.function)
        async def call(*args: object, **kwargs: object) -> object:
            position = POSITION.get()
            if position is not None:
                return await position.execution.run_step(spec, args, kwargs)
            if PROCESS.serves:
                raise OutsideRun(f"{spec.kind} {name!r} was called without a run: in a bare thread, or in an executor")
            given = (Call(os.urandom(16).hex()), *args) if isinstance(spec, ToolSpec) else args
            return await spec.function(*given, **kwargs) if spec.is_async else spec.function(*given, **kwargs)

        return call


def as_agent(found: object, where: str) -> Agent:
    """Return the agent that a module attribute is.

    Raises:
        BadDeclaration: It is something else, lacks a main, or declares types that JSON cannot hold.
    """
    if not isinstance(found, Agent):
        raise BadDeclaration(f"{where} is a {type(found).__name__}, no pinfleet.Agent")
    _ = found.manifest  # said when it is loaded, and not by its first run
    return found
