"""The number of a term only ever rises, so that a pod can tell an old leader from a new one."""

import asyncio

import pytest

from pinfleet_operator.errors import Bug, NotLeader, Unavailable
from pinfleet_operator.lease import SLACK_MINUTES
from tests.fakes.lease_world import World, simulate


def test_a_deleted_lease_is_made_again_under_a_higher_number() -> None:
    """Deleting the Lease does not unseat its leader, nor make its number fall."""

    async def scenario(world: World) -> None:
        a = world.join("a")
        await world.pass_time(3)
        await a.elector.raise_transitions(7)
        await world.pass_time(1)
        world.memory.delete("leases", "ns", "pinfleet", {})
        await world.pass_time(10)
        assert a.leads()
        assert not a.losses
        assert a.elector.transitions == 9

    simulate(scenario)


def test_the_number_rises_above_what_a_pod_has_seen() -> None:
    """After a restored etcd a pod knows a higher number; the verified leader writes the next one and goes on."""

    async def scenario(world: World) -> None:
        a = world.join("a")
        await world.pass_time(3)
        await asyncio.gather(*(a.elector.raise_transitions(41) for _ in range(5)))
        await world.pass_time(3)
        assert a.elector.transitions == world.lease()["leaseTransitions"] == 42
        assert not a.losses

    simulate(scenario)


def test_only_a_verified_leader_raises_the_number() -> None:
    """Who lost the Lease without knowing it finds out by the raise, and writes nothing."""

    async def scenario(world: World) -> None:
        a = world.join("a")
        await world.pass_time(3)
        world.memory.patch("leases", "ns", "pinfleet", {"spec": {"holderIdentity": "b", "leaseTransitions": 2}})
        with pytest.raises(NotLeader):
            await a.elector.raise_transitions(5)
        assert not a.leads()
        assert world.lease()["leaseTransitions"] == 2

    simulate(scenario)


def test_a_raise_whose_answer_is_lost_is_kept() -> None:
    """The renewal after it adopts the number that stands in the Lease."""

    async def scenario(world: World) -> None:
        a = world.join("a")
        await world.pass_time(3)
        a.kube.lost_answers = 1
        with pytest.raises(Unavailable):
            await a.elector.raise_transitions(41)
        await world.pass_time(3)
        assert a.elector.transitions == 42

    simulate(scenario)


def test_a_pod_cannot_end_the_numbers() -> None:
    """A number that no honest history reaches is not followed; after a deleted Lease any other one can be."""

    async def scenario(world: World) -> None:
        a = world.join("a")
        await world.pass_time(3)
        await a.elector.raise_transitions(2**31 - 2)
        minutes = int(a.clock.now().timestamp() // 60)
        await a.elector.raise_transitions(minutes + SLACK_MINUTES + 1)
        assert a.elector.transitions == 1
        await a.elector.raise_transitions(minutes)
        assert a.elector.transitions == minutes + 1

    simulate(scenario)


@pytest.mark.case("protocol: rule 13")
@pytest.mark.parametrize("has_lease", [True, False], ids=["the backup holds the Lease", "the backup is older"])
def test_a_restored_etcd_ends_every_process(*, has_lease: bool) -> None:
    """The Lease's own answers tell leader and standby within seconds that the server knows less than it did."""

    async def scenario(world: World) -> None:
        backup = world.memory.resource_version
        a, b = world.join("a"), world.join("b")
        await world.pass_time(10)
        if has_lease:
            backup = world.memory.resource_version - 3
        world.memory.restore(backup)
        await asyncio.sleep(3)
        assert not a.leads()
        for candidate in (a, b) if has_lease else (a,):
            assert candidate.task is not None
            assert candidate.task.done()
            with pytest.raises(Bug, match="was the server's etcd restored"):
                await candidate.task

    simulate(scenario)
