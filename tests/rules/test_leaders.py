"""Rules 4 and 8: a new leader whose watch hangs, a leader that sleeps, and a Lease that was deleted."""

import asyncio

import pytest

from tests.rules.stage import names, play
from tests.sim.net import Fault
from tests.sim.world import World

# 4: a new leader whose watch of the fleets says nothing


async def _hang_the_fleet_watch(world: World) -> None:
    """A new leader's watch of the fleets hangs from its first word on; v2 has become active since."""
    standby = world.add_operator()
    standby.hangs_fleet_watch = lambda: True
    await asyncio.sleep(1.0)
    world.deploy("v2", replicas=2)
    await world.until_active("v2")
    await world.operator.crash()
    standby.leader.take()
    await asyncio.sleep(1.0)
    world.start("a")


@pytest.mark.case("protocol: rule 4")
def test_rule_04_a_new_leader_pins_by_what_it_has_read_itself() -> None:
    """It lists the fleets consistently before its first write, and each pass reads its fleet: no watch is believed."""

    async def scenario(world: World) -> None:
        await _hang_the_fleet_watch(world)
        assert await world.until(lambda: world.run("a").get("version") == "v2", 10)

    assert play(scenario) == []


def test_rule_04_taken_out_serves_nobody() -> None:
    """Control: a leader that believes what its watch last said decides by v1; its every write is refused as stale."""
    assert names(play(_hang_the_fleet_watch, operator_off=("4",), seconds=100)) == {"ends"}


# 8: a leader that sleeps


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


async def _sleep_over_a_removal(world: World) -> None:
    """A leader sleeps right before it removes a silent pod; the pod comes back, its successor fills it, it wakes."""
    old = world.operator

    def fall_asleep(verb: str, _name: str) -> Fault | None:
        if verb == "patch pods" and old.is_awake:
            old.sleep()
        return None

    old.api_net.script = fall_asleep
    world.start("a", steps=2, seconds=500.0, deaf=True)
    await world.until_begun("a", 1)
    silent = world.run("a")["podUID"]
    world.kubelet.cut(silent)
    world.cancel("a")
    assert await world.until(lambda: not old.is_awake, 200)
    world.add_operator(leads=True)
    world.kubelet.cut(silent, is_cut=False)
    for name in "bcd":
        world.start(name, steps=2, seconds=200.0)
        await world.until_begun(name, 1)
    assert silent in {world.run(name)["podUID"] for name in "bcd"}
    await asyncio.sleep(140.0)
    old.wake()
    await asyncio.sleep(5.0)
    old.leader.lose()


@pytest.mark.case("protocol: rule 8", "draining: a scale-down meets a busy pod")
def test_rule_08_a_pod_that_a_successor_filled_is_not_deleted() -> None:
    """What a leader had decided before it slept goes no further than its next check of the lease."""
    assert play(_sleep_over_a_removal, seconds=900) == []


def test_rule_08_taken_out_deletes_a_busy_pod() -> None:
    """Control: a leader that goes on when it wakes, without preconditions, deletes a pod in the middle of its work."""
    assert "busy" in names(play(_sleep_over_a_removal, operator_off=("8",), pod_off=("leader",), seconds=900))
