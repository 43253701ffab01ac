"""What a former leader still has under way is refused: by the API server for its resourceVersion, by pods for its term.

The look at the Lease before each write only narrows the window; here writes and calls leave after all.
"""

import signal

import pytest

from hack.stage import Json, Stage
from tests.integration.failover.candidates import Asked, Candidates
from tests.integration.fleet import Fleet

pytestmark = [pytest.mark.cluster, pytest.mark.case("INV-20", "protocol: rule 8")]


def _refused(asked: list[Asked], resource: str, name: str) -> list[Asked]:
    return [each for each in asked if (each.resource, each.name, each.code) == (resource, name, 409)]


def _heard(log: list[Json], words: str) -> bool:
    return any(words in str(line.get("cause")) for line in log)


def test_an_assignment_that_arrives_late_is_refused(stage: Stage, fleet: Fleet, candidates: Candidates) -> None:
    """A leader that is cut off ends; the assignment that it had under way arrives after its successor's: 409."""
    leader = candidates.start_leader()
    fleet.deploy("v1")
    fleet.wait_active("v1")
    standby = candidates.start_standby()
    fleet.start("old", steps=100, seconds=0.1)
    fleet.wait_step("old", 2)

    leader.cable.hold()
    fleet.start("new", steps=2)
    stage.wait_for("an assignment beside a renewal to be under way", lambda: leader.cable.connections_held >= 2, 10)
    stage.wait_for("the leader to end", lambda: leader.process.exit_code is not None, 15)
    new = fleet.wait_phase("new", "Succeeded")
    leader.cable.mend()
    stage.wait_for("the late assignment", lambda: _refused(leader.asked(), "agentruns/status", "new"), 10)

    assert leader.process.exit_code == 1
    assert standby.is_leading()
    assert fleet.run("new") == new
    assert (new["epoch"], new["attempts"]) == (1, 1)
    assert fleet.wait_phase("old", "Succeeded")["epoch"] == 1
    assert [line.step for line in fleet.traced("old")] == list(range(1, 101))
    assert fleet.repeated("new") == {}


def test_a_leader_that_slept_writes_nothing(stage: Stage, fleet: Fleet, candidates: Candidates) -> None:
    """Stopped for longer than a term and woken, a leader knows by itself that it is over: it ends without a write."""
    leader = candidates.start_leader()
    fleet.deploy("v1")
    fleet.wait_active("v1")
    standby = candidates.start_standby()
    fleet.start("old", steps=100, seconds=0.1)
    fleet.wait_step("old", 2)

    leader.process.signal(signal.SIGSTOP)
    fleet.start("new", steps=2)
    new = fleet.wait_phase("new", "Succeeded")
    assert standby.is_leading()
    before = len(leader.asked())
    leader.process.signal(signal.SIGCONT)
    stage.wait_for("the leader to end", lambda: leader.process.exit_code is not None, 10)

    late = [asked for asked in leader.asked()[before:] if asked.verb not in {"get", "list", "watch"}]
    assert late == []
    assert leader.process.exit_code == 1
    assert fleet.run("new") == new
    assert fleet.wait_phase("old", "Succeeded")["epoch"] == 1
    assert [line.step for line in fleet.traced("old")] == list(range(1, 101))


def test_pods_refuse_a_leader_that_does_not_look_at_the_time(
    stage: Stage, fleet: Fleet, candidates: Candidates
) -> None:
    """Woken without the look at the Lease, it calls its pods: each answers 409 with the term that it has seen."""
    leader = candidates.start_leader(WRONG_SLEEPWALKS="1", PINFLEET_VERBOSE="1")
    fleet.deploy("v1")
    fleet.wait_active("v1")
    standby = candidates.start_standby()
    fleet.start("old", steps=120, seconds=0.1)
    fleet.wait_step("old", 2)

    leader.process.signal(signal.SIGSTOP)
    fleet.start("new", steps=2)
    new = fleet.wait_phase("new", "Succeeded")
    leader.cable.hold()  # or it would read in the Lease that it is late, before it calls anybody
    leader.process.signal(signal.SIGCONT)
    stage.wait_for("a pod to refuse", lambda: _heard(leader.log(), "answered 409: a newer leader has called"), 15)
    leader.cable.mend()
    stage.wait_for("the leader to end", lambda: leader.process.exit_code is not None, 15)

    assert leader.process.exit_code == 1
    assert standby.is_leading()
    assert fleet.run("new") == new
    assert fleet.wait_phase("old", "Succeeded")["epoch"] == 1
    assert [line.step for line in fleet.traced("old")] == list(range(1, 121))
