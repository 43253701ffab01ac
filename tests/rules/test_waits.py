"""Rules 9, 14 and 15: parks that miss what they wait for, attempts that are nobody's fault, clocks that differ."""

import asyncio

import pytest

from tests.rules.stage import names, once, play, ready_pods
from tests.sim.net import Fault
from tests.sim.world import World

# 9: a run parks beside something that it has not seen


async def _park_too_late(world: World) -> None:
    """The park is written only after the timer went off."""
    world.start("a", sleep_after=1, sleep_seconds=12.0)
    await world.until_begun("a", 1)
    world.operator.api_net.script = lambda verb, _: Fault(loses_request=True) if verb.endswith("agentruns") else None
    await asyncio.sleep(16.0)
    world.operator.api_net.script = lambda _verb, _name: None
    assert await world.until(lambda: world.was("a", "Parked"))
    parked = next(status for status in world.states("a") if status.get("phase") == "Parked")
    assert parked["waitingFor"][0]["until"] < parked["parkedAt"]


async def _cancel_while_it_parks(world: World) -> None:
    """The cancel is heard while the run still counts as running, and finds it parked in its pod."""
    world.operator.pod_net.script = lambda verb, _: Fault(after_seconds=4.0) if verb == "state" else None
    await asyncio.sleep(31.0)  # the polls of before are over
    world.start("a", seconds=7.0, sleep_after=1, sleep_seconds=10_000.0)
    assert await world.until(lambda: any(each.parks for each in world.record.commits))
    world.cancel("a")
    assert await world.until(lambda: world.run("a").get("phase") in {"Parked", "Cancelled"})


async def _message_while_it_parks(world: World) -> None:
    """A message is on the object before the park is written, and after the run has parked in its pod."""
    world.operator.pod_net.script = lambda verb, _: Fault(after_seconds=4.0) if verb == "state" else None
    await asyncio.sleep(31.0)  # the polls of before are over
    world.start("a", receives=1)
    assert await world.until(lambda: any(each.parks for each in world.record.commits))
    world.send("a", 5)
    assert await world.until(lambda: world.was("a", "Parked"))
    parked = next(status for status in world.states("a") if status.get("phase") == "Parked")
    assert parked["waitingFor"][0]["kind"] == "Message"


@pytest.mark.case("protocol: rule 9", "runs: a message comes while its run parks, or twice")
def test_rule_09_waking_is_a_condition_on_the_object() -> None:
    """A timer that went off, or a cancel or message that came, before the park was written is acted upon afterwards."""
    assert play(_park_too_late, has_faults=False) == []
    assert play(_cancel_while_it_parks, has_faults=False) == []
    assert play(_message_while_it_parks, has_faults=False) == []


def test_rule_09_taken_out_sleeps_for_ever() -> None:
    """Control: an operator that acts on the event alone leaves the run parked."""
    assert names(play(_park_too_late, operator_off=("9",))) == {"ends"}
    assert names(play(_cancel_while_it_parks, operator_off=("9",))) == {"ends"}
    assert names(play(_message_while_it_parks, operator_off=("9",))) == {"ends"}


def _seen_on_its_pod(world: World, name: str) -> int:
    """How many messages the run's pod lists as seen."""
    mirror = world.operator.plane.store.mirror(world.run(name)["podUID"])
    return max((run.messages_seen for run in mirror.runs.values() if run.name == name), default=0) if mirror else 0


async def _message_to_a_running_run(world: World) -> None:
    """A message comes between two steps; the answer to the first offer of it is lost."""
    world.start("a", steps=4, seconds=5.0)
    await world.until_begun("a", 1)
    world.operator.pod_net.script = once("offer", "", Fault(loses_reply=True))
    world.send("a", 5)
    assert await world.until(lambda: _seen_on_its_pod(world, "a") == 1, 10)
    assert world.run("a")["epoch"] == 1


@pytest.mark.case("runs: a message comes while its run parks, or twice")
def test_a_running_run_gets_a_message_at_its_epoch() -> None:
    """It is offered to the pod that holds the run, again until the pod lists it as seen; nothing is started anew."""
    assert play(_message_to_a_running_run, has_faults=False) == []


# 14: a long run with many node drains


def _outcome_of_many_drains(*, operator_off: tuple[str, ...] = ()) -> str:
    seen: list[str] = []

    async def scenario(world: World) -> None:
        world.start("a", steps=4, seconds=20.0)
        await world.until_begun("a", 1)
        for epoch in range(2, 8):
            world.kubelet.evict(world.run("a")["podUID"])
            await world.until(lambda e=epoch: world.run("a").get("epoch") == e or not world.open_runs(), 90)  # type: ignore[misc]
            await world.until(lambda: len(ready_pods(world)) == 2)
            await asyncio.sleep(1.0)
        await world.all_ended(300)
        seen.append(world.run("a").get("reason", ""))

    assert names(play(scenario, operator_off=operator_off)) <= ({"charge"} if operator_off else set())
    return seen[0]


def _outcome_of_slow_progress(*, operator_off: tuple[str, ...] = ()) -> str:
    """Every execution makes one step, then its pod dies."""
    seen: list[str] = []

    async def scenario(world: World) -> None:
        world.start("a", steps=8, seconds=3.0)
        for step in range(2, 8):
            await world.until_begun("a", step, 200)
            world.kubelet.crash(world.run("a")["podUID"])
            await world.until(lambda: not world.pod_of("a").is_alive)
            if not await world.until(lambda: world.open_runs() and world.pod_of("a").is_alive, 200):
                break
        await world.all_ended(300)
        seen.append(world.run("a").get("reason", ""))

    assert names(play(scenario, operator_off=operator_off)) <= ({"charge"} if operator_off else set())
    return seen[0]


@pytest.mark.case("protocol: rule 14", "draining: nodes are drained over and over")
def test_rule_14_drains_are_not_charged() -> None:
    """A run that is drained more often than maxAttempts goes on to its end."""
    assert _outcome_of_many_drains() == "Completed"


@pytest.mark.case("protocol: rule 14")
def test_rule_14_progress_resets_attempts() -> None:
    """A run whose pod dies after each step, more often than maxAttempts, goes on to its end."""
    assert _outcome_of_slow_progress() == "Completed"


def test_rule_14_taken_out_loses_the_run() -> None:
    """Control: an operator that charges every execution fails the run."""
    assert _outcome_of_many_drains(operator_off=("14",)) == "AttemptsExhausted"
    assert _outcome_of_slow_progress(operator_off=("14",)) == "AttemptsExhausted"


# 15: clocks that differ


async def _wake_on_a_slow_clock(world: World) -> None:
    world.start("a", sleep_after=1, sleep_seconds=30.0)
    assert await world.until(lambda: world.run("a").get("phase") == "Parked")
    world.kubelet.plan_of = lambda _pod: {"clock_ahead_seconds": -3600.0}
    for uid in list(world.kubelet.processes):
        world.kubelet.vanish(uid)
    assert await world.until(lambda: len(ready_pods(world)) == 2)
    assert await world.until(lambda: world.run("a").get("epoch", 0) > 1)


@pytest.mark.case("protocol: rule 15", "runs: clocks jump, both ways")
def test_rule_15_a_timer_that_the_operator_saw_due_fires() -> None:
    """A run that is woken on a pod whose clock is behind goes on, with one wake for its one park."""
    assert play(_wake_on_a_slow_clock, has_faults=False) == []


def test_rule_15_taken_out_parks_again_for_ever() -> None:
    """Control: a pod that goes by its own clock alone parks the run again, at once, until its clock has come round."""
    assert names(play(_wake_on_a_slow_clock, operator_off=("15",), seconds=1, settle_seconds=0)) >= {"ends"}
    assert names(play(_wake_on_a_slow_clock, pod_off=("timers-fired",), seconds=1, settle_seconds=0)) >= {"ends"}
