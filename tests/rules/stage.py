"""Runs one scenario with all rules and with some taken out, and says what went wrong."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from pinfleet.rules import ALL, without
from pinfleet_operator.api.settings import Settings
from tests.sim.history import history_of
from tests.sim.invariants import broken
from tests.sim.loop import run_virtual
from tests.sim.net import Fault, Script
from tests.sim.world import World, cluster

Scenario = Callable[[World], Awaitable[None]]
SETTLE_SECONDS = 40.0


def play(
    scenario: Scenario,
    *,
    operator_off: tuple[str, ...] = (),
    pod_off: tuple[str, ...] = (),
    seconds: float = 300.0,
    has_faults: bool = True,
    settings: Settings | None = None,
    runs_per_pod: int = 2,
    settle_seconds: float = SETTLE_SECONDS,
) -> list[str]:
    """Play a scenario, give its runs time to end, and return what is broken.

    Args:
        scenario: what happens; it may assert that the race it is about did happen.
        operator_off: rules taken out of the operator, by number.
        pod_off: rules taken out of the pods, by name.
        seconds: in which every run must have ended.
        has_faults: whether a step's body may begin twice, as after the death of its pod.
        settings: the operator's.
        runs_per_pod: of the fleet, which has two pods.
        settle_seconds: after the runs' time.
    """
    rules_off = replace(settings or Settings(), rules_off=frozenset(operator_off))

    async def main() -> list[str]:
        pod_rules = without(*pod_off) if pod_off else ALL
        async with cluster(settings=rules_off, pod_rules=pod_rules) as world:
            world.deploy("v1", replicas=2, runsPerPod=runs_per_pod)
            await world.until_active()
            await world.until(lambda: len(ready_pods(world)) == 2)
            await scenario(world)
            await world.all_ended(seconds)
            await asyncio.sleep(settle_seconds)
            errors = [repr(each.error) for each in world.operators if not each.ended_well]
            return broken(history_of(world, has_faults=has_faults)) + errors

    return run_virtual(main())


def ready_pods(world: World) -> list[str]:
    """Uids of the pods that the leader may place runs on."""
    store = world.operator.plane.store
    return sorted(pod.uid for pod in store.pods.all() if pod.ready and not pod.deleting and store.mirror(pod.uid))


def names(found: list[str]) -> set[str]:
    """The invariants that are broken."""
    return {each.partition(":")[0] for each in found}


def once(verb: str, name: str, fault: Fault) -> Script:
    """A script that strikes the first call that fits."""
    left = [fault]

    def script(called: str, about: str) -> Fault | None:
        return left.pop() if left and called == verb and name in about else None

    return script
