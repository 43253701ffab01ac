"""Rule 7 for versions that go without pods while their runs wait, and the pods that come back for a wake."""

import asyncio

import pytest

from tests.rules.stage import names, play
from tests.sim.net import Fault
from tests.sim.world import World


def pods_of(world: World, version: str) -> list[str]:
    """Names of the pods of a version."""
    label = "pinfleet.dev/version"
    return [pod["metadata"]["name"] for pod in world.server.all("pods") if pod["metadata"]["labels"][label] == version]


def phase_of(world: World, version: str) -> str:
    """A version's phase in the fleet's status."""
    return next((each["phase"] for each in world.fleet().get("versions", []) if each["name"] == version), "")


async def _sleep_on_an_old_version(world: World) -> None:
    world.start("a", sleep_after=1, sleep_seconds=200.0)
    assert await world.until(lambda: world.run("a").get("phase") == "Parked")
    world.deploy("v2", replicas=1)
    assert await world.until(lambda: phase_of(world, "v1") == "Dormant")
    assert pods_of(world, "v1") == []
    assert await world.until(lambda: pods_of(world, "v1") != [], 200)
    assert world.run("a")["phase"] == "Parked", "the pod is there before the wait is over"
    assert await world.until(lambda: phase_of(world, "v1") == "Retired", 100)
    assert world.run("a")["version"] == "v1"


async def _sleep_on_the_active_version(world: World) -> None:
    world.deploy("v1", replicas=0)
    world.start("a", sleep_after=1, sleep_seconds=400.0)
    assert await world.until(lambda: world.run("a").get("phase") == "Parked")
    assert await world.until(lambda: pods_of(world, "v1") == [], 100)
    assert phase_of(world, "v1") == "Active"
    world.start("b")
    assert await world.until(lambda: world.run("b").get("phase") == "Succeeded", 60)
    assert world.run("a")["phase"] == "Parked"


@pytest.mark.case("INV-6")
def test_a_version_whose_runs_all_wait_has_no_pods() -> None:
    """A draining version, and an active one without a floor, go to zero, and get a pod back before a wait is over."""
    assert play(_sleep_on_an_old_version, has_faults=False) == []
    assert play(_sleep_on_the_active_version, has_faults=False, seconds=500) == []


async def _die_while_it_sleeps(world: World) -> None:
    world.start("a", sleep_after=1, sleep_seconds=120.0)
    assert await world.until(lambda: world.run("a").get("phase") == "Parked")
    world.deploy("v2", replicas=1)
    assert await world.until(lambda: phase_of(world, "v1") == "Dormant")
    await world.replace_operator()
    await asyncio.sleep(20.0)
    assert (phase_of(world, "v1"), pods_of(world, "v1")) == ("Dormant", [])


def test_a_new_leader_lets_it_sleep() -> None:
    """What another process confirmed need not be known: a version without pods whose runs wait gets none."""
    assert play(_die_while_it_sleeps, has_faults=False) == []


async def _pin_while_it_falls_asleep(world: World) -> None:
    """An explicit pin to v1 is under way while v1 becomes an old version with a sleeping run alone."""
    world.start("sleeper", sleep_after=1, sleep_seconds=100.0)
    assert await world.until(lambda: world.run("sleeper").get("phase") == "Parked")
    world.operator.api_net.script = lambda verb, name: (
        Fault(before_seconds=9.0) if verb == "patch agentruns" and name == "a" else None
    )
    world.deploy("v2", replicas=2)
    await asyncio.sleep(1.0)
    world.start("a", version="v1", steps=2)
    await world.until_active("v2")
    assert "version" not in world.run("a")
    await asyncio.sleep(10.0)
    world.operator.api_net.script = lambda _verb, _name: None


@pytest.mark.case("protocol: rule 7", "INV-6")
def test_rule_07_falling_asleep_waits_for_pins_in_flight() -> None:
    """A version keeps its last pod while the pin of a run to it is under way."""
    assert play(_pin_while_it_falls_asleep) == []


def test_rule_07_taken_out_falls_asleep_with_a_run_awake() -> None:
    """Control: counted by what the watch has shown, the version goes to zero, and then the pin lands."""
    assert "INV-6" in names(play(_pin_while_it_falls_asleep, operator_off=("7",)))
