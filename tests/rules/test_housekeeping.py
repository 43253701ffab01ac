"""What must not add up over weeks: ended runs, memories, invitations to free slots."""

import asyncio

import pytest

from tests.rules.stage import play, ready_pods
from tests.sim.world import World


def test_ended_runs_go_after_a_restart_too() -> None:
    """A new operator deletes what had ended before it began, once it knows the fleet's time to live."""

    async def scenario(world: World) -> None:
        world.deploy("v1", replicas=2, runsPerPod=2, runTTLSeconds=60)
        for n in range(4):
            world.start(f"a{n}", steps=1)
        assert await world.all_ended(60)
        await world.replace_operator()
        assert await world.until(lambda: not world.run("a0") and not world.run("a3"), 200)

    assert play(scenario) == []


def test_a_lowered_time_to_live_counts_at_once() -> None:
    """The fleet's spec says how long its ended runs stay, also those that ended before."""

    async def scenario(world: World) -> None:
        world.start("a", steps=1)
        assert await world.all_ended(60)
        world.deploy("v1", replicas=2, runsPerPod=2, runTTLSeconds=5)
        assert await world.until(lambda: not world.run("a"), 30)

    assert play(scenario) == []


def test_a_run_that_is_gone_leaves_no_memory() -> None:
    """What the loop remembers of a run goes with the run, by age or by hand, listed or not."""

    async def scenario(world: World) -> None:
        world.deploy("v1", replicas=2, runsPerPod=2, runTTLSeconds=5)
        for n in range(3):
            world.start(f"a{n}", steps=1)
        world.start("by-hand", steps=50, seconds=1.0)
        await world.until_begun("by-hand", 2)
        world.delete_run("by-hand")
        assert await world.until(lambda: not any(world.run(f"a{n}") for n in range(3)), 60)
        await asyncio.sleep(60)
        loop = world.operator.plane.runs
        assert loop._memory._runs == {}
        assert loop._situate._listing_pods == {}

    assert play(scenario) == []


@pytest.mark.case("runs: the fleet is paused")
def test_a_free_slot_reaches_a_run_that_may_take_it() -> None:
    """While the fleet is paused, new runs that stand in line do not keep a due one from its slot."""

    async def scenario(world: World) -> None:
        world.deploy("v1", replicas=1, maxReplicas=1, runsPerPod=1)
        await world.until(lambda: len(ready_pods(world)) == 1, 200)
        world.start("sleeper", steps=2, sleep_after=1, sleep_seconds=60.0)
        assert await world.until(lambda: world.was("sleeper", "Parked"))
        world.start("guest", steps=1, seconds=100.0)
        await world.until_begun("guest", 1)
        for n in range(3):
            world.start(f"new{n}", steps=1)
        await asyncio.sleep(35)
        world.deploy("v1", replicas=1, maxReplicas=1, runsPerPod=1, paused=True)
        assert await world.until(lambda: world.run("guest").get("phase") == "Succeeded", 200)
        assert await world.until(lambda: world.run("sleeper").get("phase") == "Succeeded", 60)
        world.deploy("v1", replicas=1, maxReplicas=1, runsPerPod=1, paused=False)

    assert play(scenario, runs_per_pod=1) == []


def test_no_pod_is_killed_while_none_answers() -> None:
    """Rule 10 with rule 6's doubt: cancels during a cut of our own network delete nobody's pods."""

    async def scenario(world: World) -> None:
        world.deploy("v1", replicas=4, runsPerPod=2)
        await world.until(lambda: len(ready_pods(world)) == 4, 200)
        for n in range(4):
            world.start(f"a{n}", steps=200, seconds=1.0)
            await world.until_begun(f"a{n}", 1)
        before = set(ready_pods(world))
        world.operator.pod_net.is_cut = True
        for n in range(4):
            world.cancel(f"a{n}")
        await asyncio.sleep(150)
        assert {pod["metadata"]["uid"] for pod in world.server.all("pods")} >= before
        world.operator.pod_net.is_cut = False

    assert play(scenario) == []


def test_a_journal_that_lost_recorded_steps_holds_the_run() -> None:
    """The claim is gone or an older one is back: the run is held instead of running its recorded steps again."""

    async def scenario(world: World) -> None:
        world.start("a", steps=200, seconds=1.0)
        assert await world.until(lambda: world.run("a").get("steps", 0) > 0)
        world.kubelet.journal.forget()
        world.kubelet.crash(world.run("a")["podUID"])
        assert await world.until(lambda: world.run("a").get("phase") == "Held", 60)
        assert "it is not the one that the run wrote" in world.run("a")["message"]
        world.cancel("a")

    found = [each for each in play(scenario) if not each.startswith("INV-")]
    assert found == []


def test_the_name_of_a_deleted_version_is_not_free_while_runs_are_pinned_to_it() -> None:
    """Its AgentVersion is deleted by hand: another template under its name is refused, its own brings the runs on."""

    async def scenario(world: World) -> None:
        world.start("a", steps=2, sleep_after=1, sleep_seconds=100.0)
        assert await world.until(lambda: world.was("a", "Parked"))
        world.deploy("v2", replicas=2, runsPerPod=2)
        await world.until_active("v2")
        await asyncio.sleep(5)
        name = next(v["metadata"] for v in world.server.all("agentversions") if v["spec"]["id"] == "v1")
        world.server.remove("agentversions", name["namespace"], name["name"])
        await asyncio.sleep(5)
        world.deploy("v1", replicas=2, runsPerPod=2, port=9000)
        await asyncio.sleep(150)
        status = world.fleet()
        assert {c["type"]: c["reason"] for c in status["conditions"]}["Accepted"] == "VersionNameReused"
        assert (status["activeVersion"], world.run("a")["phase"]) == ("v2", "Parked")
        world.deploy("v1", replicas=2, runsPerPod=2, port=8080)
        assert await world.until(lambda: world.run("a").get("phase") == "Succeeded", 100)

    assert [each for each in play(scenario, seconds=500.0) if not each.startswith("INV-")] == []
