"""Rules 3, 7 and 16: pins beside a switch and a count, and answers that come before their echoes."""

import asyncio

import pytest

from tests.rules.stage import names, play
from tests.sim.net import Fault
from tests.sim.world import NAMESPACE, World

# 3: a promote commits, its answer is late


async def _answer_a_promote_late(world: World) -> None:
    def late(verb: str, _name: str) -> Fault | None:
        return Fault(after_seconds=6.0) if verb == "patch agentdeployments" and not is_done else None

    is_done = False
    world.deploy("v2", replicas=2)
    world.operator.api_net.script = late
    assert await world.until(lambda: world.fleet().get("activeVersion") == "v2")
    world.start("a")
    await asyncio.sleep(1.0)
    is_done = True


@pytest.mark.case("protocol: rule 3")
def test_rule_03_no_pin_while_the_outcome_of_a_promote_is_unknown() -> None:
    """A run that is created after the switch committed gets the new version, though its answer is not there yet."""
    assert play(_answer_a_promote_late) == []


def test_rule_03_taken_out_pins_by_a_stale_memory() -> None:
    """Control: the run gets the old version after the switch."""
    assert names(play(_answer_a_promote_late, operator_off=("3",))) == {"INV-5"}


# 7: a pin to v1 is in flight while v1's open runs are counted


async def _pin_while_it_is_counted(world: World) -> None:
    def late(verb: str, name: str) -> Fault | None:
        return Fault(before_seconds=9.0) if verb == "patch agentruns" and name == "a" else None

    world.operator.api_net.script = late
    world.deploy("v2", replicas=2)
    await asyncio.sleep(1.0)
    world.start("a", version="v1", steps=2)
    await world.until_active("v2")
    assert "version" not in world.run("a")
    await asyncio.sleep(10.0)
    world.operator.api_net.script = lambda _verb, _name: None


@pytest.mark.case("protocol: rule 7", "draining: a run comes between counting and scaling down")
def test_rule_07_a_count_to_zero_waits_for_pins_in_flight() -> None:
    """A version is not retired while the pin of a run to it is under way."""
    assert play(_pin_while_it_is_counted) == []


def test_rule_07_taken_out_retires_a_version_with_an_open_run() -> None:
    """Control: counted by what the watch has shown, the version is retired, and then the pin lands."""
    assert "INV-6" in names(play(_pin_while_it_is_counted, operator_off=("7",)))


async def _lose_the_leader_with_a_pin_under_way(world: World) -> None:
    """It dies right after it has sent a pin to v1; under its successor v1 has left before the pin arrives."""
    net = world.operator.api_net
    net.outlives, net.outlives_seconds = 1.0, 20.0
    net.script = lambda verb, name: Fault(before_seconds=9.0) if (verb, name) == ("patch agentruns", "a") else None
    net.rng.seed(1)  # it takes 17 s
    world.start("a", steps=2)
    await asyncio.sleep(0.5)
    world.deploy("v2", replicas=2, paused=True)  # nobody pins the run anew
    await world.replace_operator()
    await world.until_active("v2")
    assert await world.until(lambda: "version" in world.run("a"), 30)
    assert world.run("a")["version"] == "v1"
    world.deploy("v2", replicas=2, paused=False)


@pytest.mark.case("protocol: rule 7")
def test_rule_07_a_count_to_zero_waits_for_what_a_former_leader_has_sent() -> None:
    """A new leader does not retire a version while a run that its predecessor may be pinning to it is untouched."""
    assert play(_lose_the_leader_with_a_pin_under_way) == []


def test_rule_07_taken_out_retires_a_version_under_a_former_leaders_pin() -> None:
    """Control: the new leader counts none, retires the version, and then the pin arrives."""
    assert "INV-6" in names(play(_lose_the_leader_with_a_pin_under_way, operator_off=("7",)))


# 16: an answer before its echo


async def _echo_late(world: World) -> None:
    """A user edits a run before its assignment; the echoes come after the assignment's answer."""
    world.operator.api_net.script = lambda verb, name: (
        Fault(before_seconds=1.5) if (verb, name) == ("watch", "agentruns") else None
    )
    world.start("a", steps=3, seconds=4.0)
    for note in "bc":
        await asyncio.sleep(0.2)
        world.server.patch("agentruns", NAMESPACE, "a", {"metadata": {"annotations": {"note": note}}})
    await world.all_ended(60)


async def _echo_late_without_preconditions(world: World) -> None:
    world.server.has_preconditions, world.server.checks = False, []
    await _echo_late(world)


def _refused_writes(*, operator_off: tuple[str, ...] = ()) -> int:
    """Writes that went by an older state than the loop had been told."""
    seen: list[int] = []

    async def scenario(world: World) -> None:
        await _echo_late(world)
        seen.append(sum(1 for w in world.operator.kube.writes if w.plural == "agentruns" and w.refusal))

    assert play(scenario, operator_off=operator_off) == []
    return seen[0]


@pytest.mark.case("protocol: rule 16")
def test_rule_16_a_lower_resource_version_never_replaces_a_higher() -> None:
    """Late echoes of older states cause no second write; not even an API server without preconditions sees one."""
    assert _refused_writes() <= 1
    assert play(_echo_late_without_preconditions, runs_per_pod=1) == []


def test_rule_16_taken_out_writes_again() -> None:
    """Control: the store turns back, and the loop does again what it has done; compare-and-swap refuses that.

    With compare-and-swap taken out too, the run is given to a second pod at the same epoch.
    """
    assert _refused_writes(operator_off=("16",)) > 1
    assert "INV-3" in names(play(_echo_late_without_preconditions, operator_off=("16",), runs_per_pod=1))
