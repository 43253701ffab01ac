"""Rule 17: one run kills its pod each time, and its neighbours are not to pay for it."""

import asyncio
from typing import Any

import pytest

from tests.rules.stage import names, play
from tests.sim.net import Fault
from tests.sim.world import World

NEIGHBOURS = ("b", "c", "d")


async def _kill_every_pod(world: World) -> None:
    """On one pod for five: one run ends its process in its second step, always; three are harmless, and slow."""
    world.deploy("v1", replicas=1, runsPerPod=5)
    await asyncio.sleep(150.0)  # one pod is left
    for name in NEIGHBOURS:
        world.start(name, steps=2, seconds=40.0)
        await world.until_begun(name, 1)
    world.start("a", steps=3, die_at=2)
    await world.all_ended(3_000)


def _ends(*, operator_off: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """How the runs ended."""
    seen: dict[str, dict[str, Any]] = {}

    async def scenario(world: World) -> None:
        await _kill_every_pod(world)
        seen.update({name: world.run(name) for name in ("a", *NEIGHBOURS)})

    assert names(play(scenario, operator_off=operator_off, seconds=10)) <= {"blame"}
    return seen


@pytest.mark.case("protocol: rule 17", "runs: one that always kills its pod")
def test_rule_17_a_death_is_charged_to_a_run_that_was_alone() -> None:
    """A run that kills its pod each time fails alone, with the pod's last words; its neighbours go on to their end."""
    ends = _ends()
    assert {name: ends[name]["phase"] for name in NEIGHBOURS} == dict.fromkeys(NEIGHBOURS, "Succeeded")
    assert {ends[name]["attempts"] for name in NEIGHBOURS} == {1}
    assert (ends["a"]["phase"], ends["a"]["reason"]) == ("Failed", "AttemptsExhausted")
    assert "ended with exit code 7" in ends["a"]["message"]
    assert ends["a"]["podDeaths"] == 2


@pytest.mark.case("protocol: rule 17")
def test_rule_17_one_run_at_a_time_goes_alone_and_others_go_on() -> None:
    """Two that kill their pods, among others: never two alone at once, nobody else on their pods, all others served."""
    seen: list[tuple[int, int]] = []

    async def scenario(world: World) -> None:
        world.deploy("v1", replicas=1, maxReplicas=3, runsPerPod=5)
        world.start("a", steps=3, die_at=2)
        world.start("e", steps=3, die_at=2)
        for n in range(8):
            world.start(f"n{n}", steps=4, seconds=15.0)

        def look() -> bool:
            runs = [s for r in world.server.all("agentruns") if (s := r.get("status", {})).get("phase") == "Running"]
            live = [s for s in runs if (pod := world.kubelet.processes.get(s["podUID"])) and pod.is_alive]
            alone = [s for s in live if s.get("podDeaths", 0) >= 2]
            mates = [s for s in live for other in alone if s is not other and s["podUID"] == other["podUID"]]
            seen.append((len(alone), len(mates)))
            return not world.open_runs()

        assert await world.until(look, 900)
        assert {world.run(f"n{n}")["phase"] for n in range(8)} == {"Succeeded"}
        assert {world.run(name)["reason"] for name in "ae"} == {"AttemptsExhausted"}

    assert play(scenario, seconds=10) == []
    assert (max(alone for alone, _ in seen), max(mates for _, mates in seen)) == (1, 0)


@pytest.mark.case("protocol: rule 17")
def test_rule_17_a_step_recorded_alone_ends_the_suspicion() -> None:
    """A harmless run that twice died with others goes alone, records a step there, and may share a pod again."""

    async def scenario(world: World) -> None:
        for name in ("a", "b"):
            world.start(name, steps=60, seconds=4.0)
            await world.until_begun(name, 1)
        for deaths in (1, 2):
            assert world.run("a")["podUID"] == world.run("b")["podUID"]
            world.kubelet.crash(world.run("a")["podUID"])
            assert await world.until(lambda deaths=deaths: world.run("b").get("podDeaths") == deaths)  # type: ignore[misc]
            await asyncio.sleep(12.0)
        assert await world.until(lambda: not {"podDeaths"} & (world.run("a").keys() | world.run("b").keys()), 200)
        assert (world.run("a")["attempts"], world.run("b")["attempts"]) == (1, 1)

    assert play(scenario, seconds=600) == []


@pytest.mark.case("protocol: rule 17")
def test_rule_17_a_death_may_be_heard_before_the_last_assignment() -> None:
    """A standby that heard of the pod's end before it heard of a second run on it charges neither when it leads."""

    async def scenario(world: World) -> None:
        world.deploy("v1", replicas=1, runsPerPod=5)
        await asyncio.sleep(150.0)  # one pod is left
        standby = world.add_operator()
        world.start("a", steps=2, seconds=30.0)
        await world.until_begun("a", 1)
        await asyncio.sleep(5.0)
        standby.api_net.script = lambda verb, name: (
            Fault(before_seconds=4.0) if (verb, name) == ("watch", "agentruns") else None
        )
        world.start("b", steps=2, seconds=30.0)
        await world.until_begun("b", 1)
        assert world.run("a")["podUID"] == world.run("b")["podUID"]
        await world.operator.crash()
        world.kubelet.crash(world.run("a")["podUID"])
        await asyncio.sleep(2.0)
        standby.leader.take()
        assert await world.until(lambda: "podDeaths" in world.run("a") and "podDeaths" in world.run("b"))

    assert play(scenario) == []


def test_rule_17_taken_out_charges_the_neighbours() -> None:
    """Control: each death is charged to every run on the pod, and harmless ones run out of attempts."""
    ends = _ends(operator_off=("17",))
    assert "AttemptsExhausted" in {ends[name]["reason"] for name in NEIGHBOURS}
