"""Each check of a schedule's end flags a world in which it does not hold, and is silent where it does."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pinfleet_operator.api.settings import Settings
from pinfleet_operator.kube.resources import AGENT_DEPLOYMENTS
from pinfleet_operator.reconcile import FleetQueue
from tests.sim import ends
from tests.sim.loop import DeadlockError, LivelockError, run_virtual
from tests.sim.net import Fault
from tests.sim.world import FLEET, NAMESPACE, World, cluster

Check = Callable[[World], Awaitable[list[str]]]


async def _served(world: World) -> None:
    world.deploy("v1")
    await world.until_active()
    world.start("a", steps=2)
    assert await world.all_ended()
    await asyncio.sleep(5.0)


def _found(check: Check, spoil: Callable[[World], Awaitable[None]], *rules_off: str) -> list[str]:
    async def main() -> list[str]:
        async with cluster(settings=Settings(rules_off=frozenset(rules_off))) as world:
            await _served(world)
            await spoil(world)
            return await check(world)

    return run_virtual(main())


async def _as_asked(world: World) -> list[str]:
    return ends.as_asked(world)


async def _left_over(world: World) -> list[str]:
    return ends.left_over(world)


async def _died(world: World) -> list[str]:
    return ends.died(world)


async def _nothing(_world: World) -> None:
    """All is well."""


async def _sleep(world: World) -> None:
    """The leader stops, and the spec changes."""
    world.operator.sleep()
    world.deploy("v2")
    await asyncio.sleep(30.0)


async def _be_deaf(world: World) -> None:
    """A run is told to end whose code does not listen, and its operator sleeps."""
    world.start("b", steps=1, seconds=10_000.0, deaf=True)
    await world.until_begun("b", 1)
    world.operator.sleep()
    world.cancel("b")


async def _write_on(world: World) -> None:
    """Something goes on writing through the leader's connection."""

    async def write() -> None:
        for n in range(1_000):
            body = b'{"metadata":{"annotations":{"n":"%d"}}}' % n
            await world.operator.kube.merge_patch(AGENT_DEPLOYMENTS, NAMESPACE, FLEET, body)
            await asyncio.sleep(10.0)

    world.kubelet.spawn(write())


async def _delete_a_running_run(world: World) -> None:
    world.start("b", steps=2, seconds=5.0)
    await world.until_begun("b", 1)
    world.delete_run("b")
    await asyncio.sleep(60.0)


async def _make_a_mistake(world: World) -> None:
    """A bad fleet's pass breaks in a way that nobody expected, and that is not held to be the fleet's alone."""

    def broken(verb: str, name: str) -> Fault | None:
        if verb == "get agentdeployments" and name == "bad-spec":
            raise RuntimeError(name)
        return None

    world.operator.api_net.script = broken
    world.spoil()
    await asyncio.sleep(5.0)


@pytest.mark.parametrize(
    ("name", "check", "spoil", "rules_off"),
    [
        ("cancel", ends.obeys, _be_deaf, ()),
        ("INV-8", ends.comes_to_rest, _write_on, ()),
        ("INV-11", _as_asked, _sleep, ()),
        ("INV-12", ends.knows_no_history, _sleep, ()),
        ("INV-18", ends.serves, _sleep, ()),
        ("left over", _left_over, _delete_a_running_run, ("11",)),
        ("INV-9", ends.goodbye, _sleep, ()),
    ],
)
@pytest.mark.case("INV-8", "INV-9", "INV-11", "INV-12", "INV-18")
def test_an_end_that_is_not_well_is_flagged(
    name: str, check: Check, spoil: Callable[[World], Awaitable[None]], rules_off: tuple[str, ...]
) -> None:
    """What must hold at the end is found broken where it is, and is silent where all is well."""
    assert {each.partition(":")[0] for each in _found(check, spoil, *rules_off)} == {name}
    assert _found(check, _nothing) == []


def test_an_operator_that_a_bad_fleet_ends_is_flagged(monkeypatch: pytest.MonkeyPatch) -> None:
    """INV-18: the same mistake stalls nobody while it is held to be that fleet's alone, and is seen where it is not."""
    assert _found(_died, _make_a_mistake) == []
    assert _found(ends.serves, _make_a_mistake) == []

    def fail(_self: FleetQueue, _key: object, err: Exception) -> None:
        raise err

    monkeypatch.setattr(FleetQueue, "_back_off", fail)
    assert {each.partition(":")[0] for each in _found(_died, _make_a_mistake)} == {"died"}
    assert {each.partition(":")[0] for each in _found(ends.serves, _make_a_mistake)} == {"INV-18"}


def test_a_schedule_that_stands_still_or_spins_ends() -> None:
    """A lost wake-up and a loop without a pause are failures, not waits."""

    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    async def spin() -> None:
        while True:  # noqa: ASYNC110 - the mistake itself
            await asyncio.sleep(0)

    with pytest.raises(DeadlockError):
        run_virtual(wait())
    with pytest.raises(LivelockError):
        run_virtual(spin())
