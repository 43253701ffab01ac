"""Rule 8: a leader that sleeps, and a Lease that was deleted."""

import asyncio

import pytest

from tests.rules.stage import names, play
from tests.sim.world import World


async def _sleep_and_wake(world: World) -> None:
    """The leader stops right after it has assigned a run, another leads and ends it, the first wakes."""
    old = world.operator
    world.start("a", steps=3, seconds=2.0)
    assert await world.until(lambda: "epoch" in world.run("a"))
    old.sleep()
    world.add_operator()
    await asyncio.sleep(1.0)
    world.operators[-1].leader.take()
    await world.until_begun("a", 2)
    world.start("b", steps=3, seconds=2.0)
    await world.until_begun("b", 1)
    old.wake()
    await asyncio.sleep(1.0)
    old.leader.lose()


async def _delete_the_lease(world: World) -> None:
    """The number of terms begins anew; the pods have seen a higher one."""
    world.lease.transitions = 7
    await world.replace_operator()
    world.start("a", steps=2)
    await world.until_begun("a", 1)
    await world.operator.crash()
    world.lease.transitions = 0
    world.add_operator(leads=True)
    world.start("b", steps=2)


@pytest.mark.case("protocol: rule 8")
def test_rule_08_a_leader_that_slept_changes_nothing() -> None:
    """What a former leader still sends when it wakes does not end, move or repeat a run."""
    assert play(_sleep_and_wake, has_faults=False) == []


@pytest.mark.case("protocol: rule 8")
def test_rule_08_a_deleted_lease_does_not_lock_the_fleet_out() -> None:
    """A leader whose number is lower than the pods have seen raises it and goes on."""
    assert names(play(_delete_the_lease)) == set()
