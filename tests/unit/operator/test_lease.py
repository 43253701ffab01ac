"""At any moment at most one process believes that it leads, whatever is lost, sleeps or jumps.

The scenarios run in virtual time against an API server in memory: hours pass in milliseconds.
"""

import asyncio

import pytest

from pinfleet_operator.errors import NotLeader
from tests.fakes.lease_world import World, simulate


def test_the_first_candidate_leads_within_a_second_and_keeps_on() -> None:
    """A free Lease is taken at once, and held for as long as it is renewed."""

    async def scenario(world: World) -> None:
        a, b = world.join("a"), world.join("b")
        await world.pass_time(600)
        assert a.leads() != b.leads()
        assert len(world.terms) == 1

    simulate(scenario)


def test_a_dead_leader_is_followed_after_the_lease_has_run_out() -> None:
    """The next one leads 8 s after the last renewal that it saw, and no look later, under a higher number."""

    async def scenario(world: World) -> None:
        a = world.join("a")
        await world.pass_time(3)
        b = world.join("b")
        await world.pass_time(3)
        assert a.task is not None
        a.task.cancel()
        a.kube.is_cut = True
        await world.pass_time(7)
        assert not b.leads()
        await world.pass_time(1.7)
        assert b.leads()
        assert world.terms == [("a", 1), ("b", 2)]

    simulate(scenario)


def test_a_cut_leader_stops_before_anybody_else_may_begin() -> None:
    """Without an answer for the deadline the guard refuses, then the callback runs, once."""

    async def scenario(world: World) -> None:
        a, b = world.join("a"), None
        await world.pass_time(3)
        b = world.join("b")
        await world.pass_time(2)
        a.kube.is_cut = True
        await world.pass_time(5)
        assert not a.leads()
        with pytest.raises(NotLeader):
            a.elector.guard()
        await world.pass_time(10)
        assert len(a.losses) == 1
        assert b.leads()

    simulate(scenario)


def test_calls_that_hang_do_not_outlive_the_term() -> None:
    """A server that takes calls and never answers ends the term at its deadline, not at some timeout."""

    async def scenario(world: World) -> None:
        a = world.join("a")
        await world.pass_time(3)
        a.kube.hangs = True
        await world.pass_time(6.5)
        assert len(a.losses) == 1

    simulate(scenario)


def test_a_hiccup_shorter_than_the_deadline_costs_no_term() -> None:
    """Three seconds without an answer are survived."""

    async def scenario(world: World) -> None:
        a, _ = world.join("a"), world.join("b")
        await world.pass_time(3)
        leader = next(c for c in world.candidates if c.leads())
        leader.kube.is_cut = True
        await world.pass_time(3)
        leader.kube.is_cut = False
        await world.pass_time(30)
        assert len(world.terms) == 1
        assert not a.losses

    simulate(scenario)


def test_a_leader_that_slept_wakes_up_without_its_term() -> None:
    """A suspended machine's term is over by BOOTTIME, before its first call; its successor is left alone."""

    async def scenario(world: World) -> None:
        a = world.join("a")
        await world.pass_time(3)
        b = world.join("b")
        await world.pass_time(2)
        a.clock.suspend()
        await world.pass_time(20)
        assert b.leads()
        assert not a.leads()
        a.clock.resume()
        await world.pass_time(20)
        assert b.leads()
        assert len(a.losses) == 1
        assert world.lease()["holderIdentity"] == "b"

    simulate(scenario)


@pytest.mark.parametrize("ahead_seconds", [-86_400, -30, 30, 86_400])
@pytest.mark.case("runs: clocks jump, both ways")
def test_a_wall_clock_that_jumps_changes_nothing(ahead_seconds: float) -> None:
    """Neither the holder's nor the candidate's wall clock says when a Lease has run out."""

    async def scenario(world: World) -> None:
        a = world.join("a")
        await world.pass_time(3)
        b = world.join("b")
        b.clock.ahead_seconds = ahead_seconds
        await world.pass_time(30)
        a.clock.ahead_seconds = -ahead_seconds
        await world.pass_time(30)
        assert a.leads()
        assert world.terms == [("a", 1)]

    simulate(scenario)


def test_a_lost_answer_to_a_renewal_costs_no_term() -> None:
    """The next renewal finds the changed Lease, its own holder in it, and goes on."""

    async def scenario(world: World) -> None:
        a = world.join("a")
        world.join("b")
        await world.pass_time(3)
        leader = next(c for c in world.candidates if c.leads())
        leader.kube.lost_answers = 2
        await world.pass_time(30)
        assert len(world.terms) == 1
        assert not a.losses

    simulate(scenario)


def test_a_lost_answer_to_the_first_write_is_a_new_term() -> None:
    """Who finds itself the holder without knowing it begins a new term, with a number that nobody used."""

    async def scenario(world: World) -> None:
        a = world.join("a")
        a.kube.lost_answers = 1
        await world.pass_time(5)
        assert a.leads()
        assert world.terms == [("a", 2)]

    simulate(scenario)


def test_a_restarted_process_waits_for_the_term_of_the_one_before() -> None:
    """Another identity on the same machine is another candidate."""

    async def scenario(world: World) -> None:
        a = world.join("host_1")
        await world.pass_time(3)
        assert a.task is not None
        a.task.cancel()
        again = world.join("host_2")
        await world.pass_time(6)
        assert not again.leads()
        await world.pass_time(5)
        assert again.leads()

    simulate(scenario)


def test_a_clean_exit_lets_the_next_one_in_at_once() -> None:
    """A released Lease is taken within two looks; the one who left calls it no loss."""

    async def scenario(world: World) -> None:
        a = world.join("a")
        await world.pass_time(3)
        b = world.join("b")
        await world.pass_time(3)
        await a.elector.release()
        assert not a.leads()
        await world.pass_time(0.7)
        assert b.leads()
        assert not a.losses

    simulate(scenario)


@pytest.mark.parametrize("cut_after_seconds", [0.005, 0.015])
def test_a_renewal_that_was_cut_off_does_not_keep_the_lease(cut_after_seconds: float) -> None:
    """The process is told to end while a renewal is under way: the Lease is free all the same, not in 8 s."""

    async def scenario(world: World) -> None:
        a = world.join("a")
        await world.pass_time(3)
        a.kube.answer_seconds = 0.02  # the write is done after 0.01 s, its answer comes 0.02 s later
        renewal = asyncio.create_task(a.elector._renew_once())
        await asyncio.sleep(cut_after_seconds)
        assert a.task is not None
        for task in (renewal, a.task):
            task.cancel()
        await asyncio.gather(renewal, a.task, return_exceptions=True)
        await a.elector.release()
        assert world.lease().get("holderIdentity") is None

    simulate(scenario)


def test_a_term_that_nobody_heard_of_is_given_back_too() -> None:
    """A candidate that ends before its first write is answered frees what it does not know to hold."""

    async def scenario(world: World) -> None:
        a = world.join("a")
        a.kube.answer_seconds = 0.5
        await world.pass_time(0.2)
        assert world.lease()["holderIdentity"] == "a"
        assert a.task is not None
        a.task.cancel()
        await asyncio.gather(a.task, return_exceptions=True)
        await a.elector.release()
        assert world.lease().get("holderIdentity") is None

    simulate(scenario)


def test_an_exit_leaves_another_ones_lease_alone() -> None:
    """Neither a standby nor a leader that lost its term touches the Lease of the one that leads."""

    async def scenario(world: World) -> None:
        a = world.join("a")
        await world.pass_time(3)
        b = world.join("b")
        await world.pass_time(1)
        await b.elector.release()
        assert world.lease()["holderIdentity"] == "a"
        world.memory.patch("leases", "ns", "pinfleet", {"spec": {"holderIdentity": "somebody"}})
        await a.elector.release()
        assert world.lease()["holderIdentity"] == "somebody"

    simulate(scenario)


def test_a_call_that_hangs_leaves_time_for_another() -> None:
    """One that never answers is given up before the deadline, and the next try comes sooner than after a good one."""

    async def scenario(world: World) -> None:
        a = world.join("a")
        await world.pass_time(3)
        a.kube.hangs = True
        await world.pass_time(2.4)
        a.kube.hangs = False
        a.kube.answer_seconds = 0.9
        await world.pass_time(10)
        assert a.leads()
        assert world.terms == [("a", 1)]

    simulate(scenario)


def test_a_slow_server_costs_no_term() -> None:
    """Renewals begin a second apart, or right after each other: answers that take almost half the deadline will do."""

    async def scenario(world: World) -> None:
        a = world.join("a")
        await world.pass_time(3)
        a.kube.answer_seconds = 2.3
        await world.pass_time(60)
        assert a.leads()
        assert world.terms == [("a", 1)]

    simulate(scenario)


def test_release_during_a_renewal_stops_writing_at_once() -> None:
    """The renewal's good answer does not bring the term back."""

    async def scenario(world: World) -> None:
        a = world.join("a")
        await world.pass_time(3)
        renewal = asyncio.create_task(a.elector._renew_once())
        await asyncio.sleep(0.005)
        release = asyncio.create_task(a.elector.release())
        await asyncio.sleep(0)
        assert not a.leads()
        await asyncio.gather(renewal, release)
        assert not a.leads()
        assert world.lease().get("holderIdentity") is None

    simulate(scenario)


def test_a_lease_taken_by_force_ends_the_term() -> None:
    """Another holder in the Lease, by whatever hand, is believed at the next renewal."""

    async def scenario(world: World) -> None:
        a = world.join("a")
        await world.pass_time(3)
        world.memory.patch("leases", "ns", "pinfleet", {"spec": {"holderIdentity": "somebody"}})
        await asyncio.sleep(2)
        assert not a.leads()
        assert len(a.losses) == 1
        assert world.lease()["holderIdentity"] == "somebody"

    simulate(scenario)


def test_a_label_on_the_lease_costs_no_term() -> None:
    """A change by another hand that leaves the holder is read and gone on from."""

    async def scenario(world: World) -> None:
        a = world.join("a")
        await world.pass_time(3)
        world.memory.patch("leases", "ns", "pinfleet", {"metadata": {"labels": {"x": "y"}}})
        await world.pass_time(10)
        assert a.leads()
        assert world.terms == [("a", 1)]

    simulate(scenario)


def test_the_invariant_is_checked() -> None:
    """Negative control: a candidate that takes every Lease for free makes a second leader, and is caught."""

    async def scenario(world: World) -> None:
        world.join("a")
        await world.pass_time(3.5)
        b = world.join("b")
        setattr(b.elector, "_is_free", lambda _seen: True)  # noqa: B010 - the fault
        await world.pass_time(10)

    with pytest.raises(AssertionError, match="two leaders"):
        simulate(scenario)


def test_what_is_written_is_a_lease() -> None:
    """The fields that people and tools read are there."""

    async def scenario(world: World) -> None:
        world.join("a")
        await world.pass_time(3)
        lease = world.lease()
        assert lease["acquireTime"] == "2026-01-01T00:00:00.010000Z"
        assert lease["leaseDurationSeconds"] == 8
        assert lease["renewTime"] > lease["acquireTime"]

    simulate(scenario)
