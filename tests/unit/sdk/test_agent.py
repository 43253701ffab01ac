"""What an author declares: refused by name at import, and plain Python outside a run."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from pinfleet.agent import Agent
from pinfleet.context import Ctx
from pinfleet.errors import AmbiguousStep, BadDeclaration, OutsideRun
from pinfleet.identity import Identities, child_scope
from pinfleet.position import PROCESS, current
from tests.unit.sdk.conftest import MakePod
from tests.unit.sdk.inline_pod import offer


class Shop:
    """A class."""

    def method(self) -> None:
        """Do nothing."""

    @staticmethod
    def static() -> None:
        """Do nothing."""


def generator() -> Any:
    """Yield."""
    yield 1


async def async_generator() -> Any:
    """Yield."""
    yield 1


@pytest.mark.parametrize(
    ("candidate", "why"),
    [
        (Shop.method, "Shop.method is a method"),
        (Shop.static, "Shop.static is a method"),
        (Shop().method, "is a method"),
        (Shop, "is a type"),
        (print, "builtin"),
        (generator, "generator"),
        (async_generator, "generator"),
        (lambda: 1, "lambda"),
    ],
)
def test_refused_steps(candidate: Callable[..., Any], why: str) -> None:
    """Only functions are steps; anything else is refused by its name, when the module is imported."""
    with pytest.raises(BadDeclaration, match=why):
        Agent("a").step(candidate)


def test_names() -> None:
    """Two steps of one name, and names that would break identities, are refused."""
    agent = Agent("a")

    @agent.step(name="pay")
    def pay() -> None: ...

    with pytest.raises(BadDeclaration, match="two steps named 'pay'"):
        agent.step(name="pay")(generator_free)
    for name in ("", "a/b", "a#1", "ctx.sleep"):
        with pytest.raises(BadDeclaration):
            agent.step(name=name or "/")(generator_free)


def generator_free() -> None:
    """Do nothing."""


def test_main() -> None:
    """Main is one async function of ctx and, at most, the input."""
    agent = Agent("a")
    with pytest.raises(BadDeclaration, match=r"no @agent\.main"):
        agent.entry()
    with pytest.raises(BadDeclaration, match="async"):
        agent.main(generator_free)  # type: ignore[arg-type]

    async def three(ctx: Ctx, one: int, two: int) -> None: ...

    with pytest.raises(BadDeclaration, match="takes 3"):
        agent.main(three)

    @agent.main
    async def main(ctx: Ctx) -> None: ...

    with pytest.raises(BadDeclaration, match="has a main already"):
        agent.main(main)


async def test_outside_a_run() -> None:
    """Outside a run, decorated functions just run: an agent is testable as plain Python."""
    agent = Agent("a")

    @agent.step
    def double(n: int) -> int:
        return 2 * n

    @agent.step
    async def triple(n: int) -> int:
        return 3 * n

    assert (await double(2), await triple(n=2)) == (4, 6)
    with pytest.raises(OutsideRun):
        current()


async def test_outside_a_run_in_a_serving_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process that serves, a call that lost its run is a mistake, said as such."""
    monkeypatch.setattr(PROCESS, "serves", True)
    agent = Agent("a")

    @agent.step
    async def step() -> None: ...

    with pytest.raises(OutsideRun, match="bare thread"):
        await step()


async def test_current(make_pod: MakePod) -> None:
    """A step's body knows its run, version, epoch and pod, also in a sync step's thread."""
    agent = Agent("a")

    @agent.step
    def tell() -> list[Any]:
        run = current()
        return [run.uid, run.name, run.version, run.epoch, run.pod_uid, run.step]

    @agent.main
    async def main(ctx: Ctx) -> list[Any]:
        assert ctx.run.step is None
        return await tell()

    assert await make_pod(agent).result_of("r1") == ["r1", "run", "v1", 1, "pod-1", "tell#1"]


def test_manifest_tells_code_apart() -> None:
    """The manifest changes with names and code, and with nothing else."""

    def made(factor: int, name: str = "a") -> str:
        agent = Agent(name)

        async def main(ctx: Ctx) -> int:
            return 1

        if factor == 1:

            @agent.step(name="s")
            def step() -> int:
                return 1
        else:

            @agent.step(name="s")
            def step() -> int:
                return 2

        agent.main(main)
        return agent.manifest

    assert made(1) == made(1)
    assert made(1) != made(2)
    assert made(1) != made(1, "b")


@dataclass(frozen=True)
class Ask:
    """An input."""

    order: str
    cents: int = 5


def test_schemas_are_read_off_the_hints() -> None:
    """Input, result and messages have their JSON Schema by the types that main and the agent declare."""
    agent = Agent("a", messages=(Ask,))

    @agent.main
    async def main(ctx: Ctx, ask: Ask) -> list[int]:
        return [ask.cents]

    assert agent.schemas["input"] == agent.schemas["Ask"]
    assert agent.schemas["Ask"]["$defs"]["Ask"]["required"] == ["order"]
    assert agent.schemas["result"] == {"type": "array", "items": {"type": "integer"}}


def test_a_type_without_a_schema_is_refused() -> None:
    """A type that JSON cannot hold is named before the first run."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx) -> threading.Thread:
        raise NotImplementedError

    with pytest.raises(BadDeclaration, match=r"a: result: .*Thread"):
        _ = agent.manifest


def test_identities() -> None:
    """N counts calls of one name in one scope; an overlap is ambiguous, a sequence is not."""
    ids = Identities()
    first = ids.begin("", "pay")
    with pytest.raises(AmbiguousStep, match="'pay' overlap in main"):
        ids.begin("", "pay")
    assert ids.begin("branch", "pay").n == 1
    ids.finish(first)
    assert (ids.begin("", "pay").n, str(first)) == (2, "pay#1")


def test_scopes_cannot_collide() -> None:
    """A branch's key with a slash in it is one part of the path."""
    assert child_scope(child_scope("", "a"), "b") != child_scope("", "a/b")


async def test_positional_only_and_bad_calls(make_pod: MakePod) -> None:
    """A call that does not fit the step's signature fails as a call does."""
    agent = Agent("a")

    @agent.step
    async def step(a: int, /, *rest: int, key: int = 3, **more: int) -> list[Any]:
        return [a, list(rest), key, more]

    @agent.main
    async def main(ctx: Ctx) -> list[Any]:
        try:
            await step()  # type: ignore[call-arg]
        except TypeError as err:
            return [*await step(1, 2, key=4, x=5), str(err)]
        return []

    assert await make_pod(agent).result_of("r1") == [1, [2], 4, {"x": 5}, "missing a required argument: 'a'"]


async def test_arguments_that_cannot_be_recorded(make_pod: MakePod) -> None:
    """A step is not executed with arguments that the journal cannot hold."""
    agent = Agent("a")
    ran: list[object] = []

    @agent.step
    async def step(what: object) -> None:
        ran.append(what)

    @agent.main
    async def main(ctx: Ctx) -> None:
        await step(asyncio)

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    listed = await pod.until("r1", "failed")
    assert listed.outcome is not None
    assert listed.outcome.error is not None
    assert (listed.outcome.error.type, ran) == ("NotStorable", [])
