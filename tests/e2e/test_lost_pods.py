"""Pods that go in every way that real ones do: the run goes on, and no recorded step runs again."""

import pytest

from tests.e2e.fleet import RealFleet

STEPS = 20


@pytest.fixture
def running(fleet: RealFleet) -> RealFleet:
    """A run `one` of 20 steps at its third."""
    fleet.deploy("v1", replicas=1)
    fleet.wait_active("v1", 120)
    fleet.start("one", steps=STEPS, seconds=0.5)
    fleet.wait_step("one", 3, 60)
    return fleet


def ended_elsewhere(fleet: RealFleet, before: dict[str, object], *, again: int = 1) -> None:
    """The run succeeds on another pod."""
    after = fleet.wait_phase("one", "Succeeded", seconds=150)
    fleet.check_whole("one", STEPS, again=again)
    assert len({line.pod for line in fleet.traced("one")}) == 2
    assert after["epoch"] == before["epoch"] + 1  # type: ignore[operator]  # a number


@pytest.mark.case("draining: SIGKILL mid-run")
def test_a_container_killed_by_sigkill(running: RealFleet) -> None:
    """A killed process costs the step that it was in, and nothing else."""
    before = running.run("one")
    running.stage.kill_container(before["podUID"])
    ended_elsewhere(running, before)


@pytest.mark.case("draining: a pod is evicted mid-run")
def test_an_evicted_pod(running: RealFleet) -> None:
    """An evicted pod stops at a step's boundary: no step runs again, and no attempt is charged."""
    before = running.run("one")
    running.stage.evict(before["pod"], running.namespace)
    ended_elsewhere(running, before, again=0)
    assert running.run("one")["attempts"] == before["attempts"]


@pytest.mark.case("draining: nodes are drained over and over")
def test_a_drained_node(running: RealFleet) -> None:
    """`kubectl drain` takes the fleet's pods and the operator's; after `uncordon` the run goes on, uncharged."""
    before = running.run("one")
    node = running.stage.get("pod", before["pod"], running.namespace)["spec"]["nodeName"]
    with running.stage.drained(node):
        assert running.run("one")["phase"] in {"Running", "Pending"}
    running.stage.wait_operator()
    ended_elsewhere(running, before, again=0)
    assert running.run("one")["attempts"] == before["attempts"]


def test_a_container_without_memory(fleet: RealFleet) -> None:
    """A run that eats its pod's memory is tried again, alone after two deaths, and Failed by name; others go on."""
    fleet.deploy("v1", replicas=1, memory="128Mi")
    fleet.wait_active("v1", 120)
    fleet.start("hungry", steps=3, eat_at=2, limits={"maxAttempts": 2})
    fleet.start("modest", steps=3)
    ended = fleet.wait_phase("hungry", "Failed", seconds=300)
    assert ended["reason"] == "AttemptsExhausted"
    assert "ended with exit code 137: OOMKilled" in ended["message"]
    assert [line.step for line in fleet.traced("hungry")].count(1) == 1
    assert fleet.wait_phase("modest", "Succeeded", seconds=150)["version"] == "v1"
