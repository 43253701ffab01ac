"""Rules 1, 2 and 5: from an assignment to the pod that holds the run, and from its end to the ack."""

import pytest

from tests.rules.stage import names, once, play
from tests.sim.net import Fault
from tests.sim.world import World

# 1: an assignment commits, its reply is lost, or the operator dies before the offer


async def _lose_the_reply_of_an_assignment(world: World) -> None:
    world.operator.api_net.script = once("patch agentruns", "a", Fault(loses_reply=True))
    world.start("a")
    assert await world.until(lambda: world.run("a").get("phase") == "Running")


async def _die_between_assignment_and_offer(world: World) -> None:
    world.operator.pod_net.script = once("offer", "", Fault(before_seconds=3.0))
    world.start("a")
    assert await world.until(lambda: world.run("a").get("phase") == "Running")
    await world.replace_operator()
    assert world.record.offers == []


async def _lose_an_offer(world: World) -> None:
    world.operator.pod_net.script = once("offer", "", Fault(loses_request=True))
    world.start("a")
    assert await world.until(lambda: world.run("a").get("phase") == "Running")


SCENARIOS_1 = (_lose_the_reply_of_an_assignment, _die_between_assignment_and_offer, _lose_an_offer)


@pytest.mark.case("protocol: rule 1", "runs: the answer is lost after the offer was accepted")
def test_rule_01_a_run_stays_in_work_until_its_pod_holds_it() -> None:
    """An assignment whose reply, offer or operator is lost is offered again at its epoch, uncharged, and ends."""
    assert [play(each, has_faults=False) for each in SCENARIOS_1] == [[], [], []]


def test_rule_01_taken_out_leaves_the_run_running_for_ever() -> None:
    """Control: an operator that takes an assignment for an accepted offer leaves the run stuck."""
    assert [names(play(each, operator_off=("1",))) for each in SCENARIOS_1] == [{"ends"}] * 3


# 2: the pod ends a run, the status write fails, the pod forgets


async def _lose_the_write_of_an_end(world: World) -> None:
    world.start("a", steps=2, rolls=True)
    await world.until_begun("a", 2)
    world.operator.api_net.script = once("patch agentruns", "a", Fault(loses_request=True))


@pytest.mark.case("protocol: rule 2")
def test_rule_02_an_end_is_listed_until_its_write_is_confirmed() -> None:
    """A run whose end could not be written the first time ends with the outcome that its journal recorded."""
    assert play(_lose_the_write_of_an_end, has_faults=False) == []


def test_rule_02_taken_out_loses_the_end() -> None:
    """Control: acked before the write, and with journals that execute ended runs again, the end is lost.

    Each half covers the other's race: a pod that forgot answers a new offer from its journal. Both are taken out.
    """
    assert play(_lose_the_write_of_an_end, operator_off=("2",)) == []
    assert play(_lose_the_write_of_an_end, pod_off=("terminal-answer",)) == []
    found = names(play(_lose_the_write_of_an_end, operator_off=("2",), pod_off=("terminal-answer",)))
    assert found == {"INV-4", "leave"}, "the run ended twice"


# 5: a container restarts in place


async def _restart_in_place(world: World) -> None:
    world.start("a", seconds=5.0)
    await world.until_begun("a", 2)
    world.kubelet.restart_in_place(world.run("a")["podUID"])


@pytest.mark.case("protocol: rule 5")
def test_rule_05_another_boot_of_the_same_pod_is_a_lost_pod() -> None:
    """A run whose container started again in place is assigned anew, as an attempt that is charged."""

    async def scenario(world: World) -> None:
        await _restart_in_place(world)
        assert await world.until(lambda: world.run("a").get("epoch") == 2)

    assert play(scenario) == []


def test_rule_05_taken_out_offers_the_epoch_to_a_process_that_never_claimed_it() -> None:
    """Control: an operator that takes a restart for a lost reply is refused by the journal for ever."""
    assert names(play(_restart_in_place, operator_off=("5",))) == {"ends"}


def test_rule_05_taken_out_on_both_ends_never_counts_a_crash_loop() -> None:
    """Control: where the journal accepts it too, a run that kills its process each time is never charged, nor ends."""

    async def crash_loop(world: World) -> None:
        world.kubelet.restarts_in_place = True
        world.start("a", die_at=2)

    assert play(crash_loop) == []
    assert names(play(crash_loop, operator_off=("5",), pod_off=("boot",))) == {"ends", "INV-20"}


async def _restart_in_place_without_a_slot(world: World) -> None:
    """The other pod is full: the only slot that the run could take is counted as its own."""
    world.start("b", steps=1, seconds=900.0)
    await world.until_begun("b", 1)
    world.start("a", steps=2, seconds=1000.0)
    await world.until_begun("a", 1)
    world.kubelet.restart_in_place(world.run("a")["podUID"])
    world.cancel("a")
    assert await world.until(lambda: world.run("a").get("phase") == "Cancelled", 400)


def test_a_run_whose_process_is_gone_is_lost_though_its_pod_lives() -> None:
    """A cancel is carried out in time, though no other slot is free for who would commit it."""
    assert play(_restart_in_place_without_a_slot, runs_per_pod=1, seconds=1000.0) == []
