"""What befalls versions and pods beside the races of the rules: prunes that fail, deadlines, deaths, bursts."""

import asyncio
import re
from itertools import pairwise

import pytest

from tests.rules.stage import play
from tests.sim.history import history_of
from tests.sim.invariants import broken
from tests.sim.loop import run_virtual
from tests.sim.net import Fault
from tests.sim.world import NAMESPACE, World, cluster


async def _prune_in_vain(world: World) -> None:
    tries: list[float] = []

    def refuse(verb: str, _name: str) -> Fault | None:
        if verb != "delete agentversions":
            return None
        tries.append(world.now())
        return Fault(loses_request=True) if len(tries) < 6 else None

    world.operator.api_net.script = refuse
    world.deploy("v2", replicas=2, versionHistoryLimit=0)
    await world.until_active("v2")
    assert await world.until(lambda: len(tries) >= 4, 300)
    assert "v1" in {each["name"] for each in world.fleet()["versions"]}
    assert await world.until(lambda: ("agentversions", NAMESPACE, "fleet.v1") not in world.server.objects, 300)
    pauses = [after - before for before, after in pairwise(tries)]
    assert pauses == sorted(pauses), pauses
    assert pauses[-1] > pauses[0] + 3
    failed = [line for line in world.logs if line.get("event") == "fleet_pass_failed"]
    assert all(re.search("cannot delete agentversions", line["cause"]) for line in failed)
    assert len(failed) == len(tries) - 1


@pytest.mark.case("draining: a prune fails")
def test_a_failed_prune_backs_off_and_is_visible() -> None:
    """A record that cannot be deleted is tried again ever more rarely, stays in the status, and the log says why."""
    assert play(_prune_in_vain) == []


async def _outlive_every_deadline(world: World) -> None:
    """One run is parked, one is deaf on its pod, one waits for a slot: their version drains."""
    limits = {"deadlineSeconds": 120}
    world.start("parked", limits=limits, sleep_after=1, sleep_seconds=10_000.0)
    assert await world.until(lambda: world.run("parked").get("phase") == "Parked")
    for name in ("b", "c", "d", "e"):
        world.start(name, limits=limits, steps=1, seconds=10_000.0, deaf=True)
    assert await world.until(lambda: len(world.record.begun) == 5)
    world.start("late", version="v1", limits=limits)
    assert await world.until(lambda: world.run("late").get("version") == "v1")
    world.deploy("v2", replicas=1, runsPerPod=2)
    await world.until_active("v2")
    assert await world.all_ended(300)
    assert {world.run(name)["phase"] for name in ("parked", "b", "c", "d", "e")} == {"TimedOut"}
    assert await world.until(
        lambda: {"v1": "Retired"}.items() <= {v["name"]: v["phase"] for v in world.fleet()["versions"]}.items(), 120
    )


@pytest.mark.case("draining: a run outlives every deadline")
def test_a_version_whose_runs_never_end_retires_after_their_deadline() -> None:
    """Parked, deaf or without a slot: every run ends by its deadline, and its draining version retires."""
    assert play(_outlive_every_deadline) == []


async def _replace_under_the_same_name(world: World) -> None:
    world.start("a", steps=12, seconds=1.0)
    await world.until_begun("a", 3)
    first = world.run("a")
    world.kubelet.vanish(first["podUID"])
    place = ("pods", NAMESPACE, first["pod"])
    assert await world.until(lambda: place in world.server.objects), "the name was not used again"
    assert world.server.objects[place]["metadata"]["uid"] != first["podUID"]
    assert await world.until(lambda: world.run("a").get("epoch") == 2)
    assert await world.all_ended(60)
    assert world.run("a")["attempts"] == 1


@pytest.mark.case("draining: a pod is replaced under the same name")
def test_a_pod_of_the_same_name_is_another_pod() -> None:
    """A run whose pod was replaced under its name is assigned anew, uncharged, and no recorded step runs again."""
    assert play(_replace_under_the_same_name) == []


async def _accept_and_die(world: World) -> None:
    world.start("a", steps=3, die_at=1, die_epochs=1)
    assert await world.until(lambda: world.run("a").get("epoch") == 2)
    assert await world.all_ended(120)
    assert (world.run("a")["phase"], world.run("a")["attempts"]) == ("Succeeded", 2)


@pytest.mark.case("runs: a pod accepts and dies at once")
def test_a_pod_that_accepts_and_dies_is_charged_to_the_run() -> None:
    """The first step kills the pod: the run goes on elsewhere as its second attempt, and ends."""
    assert play(_accept_and_die) == []


async def _hang_over_a_limit(world: World, limit: str) -> None:
    world.start("a", steps=2, seconds=10_000.0, deaf=True, limits={limit: 60})
    world.start("b", steps=4, seconds=20.0)
    await world.until_begun("a", 1)
    await world.until_begun("b", 1)
    silent = world.run("a")["podUID"]
    world.kubelet.cut(silent)
    assert await world.until(lambda: world.run("a").get("phase") == "TimedOut", 240), world.run("a")
    assert world.kubelet.find(silent) is None
    assert await world.all_ended(240)
    assert (world.run("b")["phase"], world.run("b")["attempts"]) == ("Succeeded", 1)


@pytest.mark.case("runs: a hung and silent pod passes a limit")
@pytest.mark.parametrize("limit", ["deadlineSeconds", "activeSeconds"])
def test_a_limit_is_enforced_from_outside(limit: str) -> None:
    """Code that hangs on a pod that nobody reaches ends by its limit all the same, and its neighbours go on."""
    assert play(lambda world: _hang_over_a_limit(world, limit)) == []


BURST, SERVED_SECONDS = 10_000, 25.0


async def _burst() -> None:
    async with cluster() as world:
        world.deploy("v1", replicas=2, runsPerPod=2)
        await world.until_active()
        before = len(world.operator.kube.writes)
        for n in range(BURST):
            world.start(f"{n // 2000}-{n}", steps=1, seconds=2.0)
            if n % 2000 == 1999:
                await asyncio.sleep(1.0)  # the API server's times of creation are whole seconds
        await asyncio.sleep(SERVED_SECONDS)
        writes = [each for each in world.operator.kube.writes[before:] if each.plural == "agentruns"]
        begun = [each.name for each in world.record.begun]
        assert 30 <= len(begun) == len(set(begun))
        assert {name[0] for name in begun} == {"0"}, "some were served before their turn"
        assert len(writes) <= 2 * len(begun), "runs that wait were written"
        assert broken(history_of(world), "INV-1", "INV-3", "INV-4", "INV-5", "INV-15") == []


@pytest.mark.case("runs: 10,000 are created in a burst")
def test_a_burst_is_served_in_turn() -> None:
    """Ten thousand runs for four slots: the oldest are served first, and those that wait cost no write."""
    run_virtual(_burst())
