"""Rule 10: a limit or a cancel meets a run that has just succeeded, code that does not stop, or a pod that is gone."""

import asyncio

import pytest

from tests.rules.stage import names, play
from tests.sim.net import Fault
from tests.sim.world import World


async def _cancel_what_has_succeeded(world: World) -> None:
    world.operator.pod_net.script = lambda verb, _: Fault(after_seconds=4.0) if verb == "state" else None
    await asyncio.sleep(31.0)  # the polls of before are over
    world.start("a", steps=1, seconds=7.0)
    assert await world.until(lambda: any(each.end for each in world.record.commits))
    world.cancel("a")


async def _cancel_deaf_code(world: World) -> None:
    world.start("a", steps=2, seconds=200.0, deaf=True)
    await world.until_begun("a", 1)
    world.cancel("a")


async def _cancel_on_a_silent_pod(world: World) -> None:
    world.start("a", steps=2, seconds=500.0, deaf=True)
    world.start("b", steps=4, seconds=20.0)
    await world.until_begun("a", 1)
    world.kubelet.cut(world.run("a")["podUID"])
    world.cancel("a")


async def _cancel_what_lost_its_pod(world: World) -> None:
    world.start("a", steps=5, seconds=5.0)
    await world.until_begun("a", 2)
    world.kubelet.vanish(world.run("a")["podUID"])
    world.cancel("a")
    begun = len(world.record.begun)
    assert await world.all_ended(120)
    assert len(world.record.begun) == begun, "a cancelled run began a step on its next pod"


@pytest.mark.case("protocol: rule 10", "runs: a cancel meets a run that finishes")
def test_rule_10_an_end_that_the_pod_reports_wins() -> None:
    """A cancel that meets a recorded success leaves the success."""
    assert play(_cancel_what_has_succeeded, has_faults=False) == []


@pytest.mark.case("protocol: rule 10")
def test_rule_10_code_that_does_not_stop_is_ended_after_its_grace() -> None:
    """The pod commits the end of a cancelled run whose code ignores it."""
    assert play(_cancel_deaf_code, seconds=60) == []


@pytest.mark.case("protocol: rule 10")
def test_rule_10_a_silent_pod_goes() -> None:
    """A pod that neither ends a cancelled run nor answers is deleted; its other runs go on elsewhere, uncharged."""
    assert play(_cancel_on_a_silent_pod, seconds=240) == []


@pytest.mark.case("protocol: rule 10", "runs: a cancel meets an offer")
def test_rule_10_a_run_without_its_pod_ends_through_a_claim_that_executes_nothing() -> None:
    """A cancelled run whose pod is gone ends on another pod of its version, and begins no step there."""
    assert play(_cancel_what_lost_its_pod) == []


def test_rule_10_taken_out_contradicts_the_journal() -> None:
    """Control: an operator that writes the end at once contradicts a success that the journal recorded."""
    assert "INV-16" in names(play(_cancel_what_has_succeeded, operator_off=("10",)))


def test_rule_10_taken_out_of_the_pod_waits_for_deaf_code_for_ever() -> None:
    """Control: a pod that only asks code to stop leaves the run stuck."""
    assert names(play(_cancel_deaf_code, pod_off=("cancel-grace",), seconds=60)) == {"ends"}
