"""Two operators on a real API server: whatever ends the leader, the next one goes on in time; nothing is doubled."""

import signal
import time

import pytest

from hack.stage import Stage
from tests.integration.failover.candidates import LEASE_SECONDS, Candidates
from tests.integration.fleet import Fleet
from tests.integration.recorder import writes_of

pytestmark = [pytest.mark.cluster, pytest.mark.case("INV-20")]


def assigned_at(stage: Stage, fleet: Fleet, run: str) -> float:
    """When the API server had taken a run's first assignment, by the audit log."""

    def found() -> float | None:
        writes = writes_of(stage.cluster.audit_log, fleet.namespace)
        mine = [w.at for w in writes if (w.resource, w.name) == ("agentruns/status", run) and w.is_done]
        return mine[0] if mine else None

    stage.wait_for(f"{run} to be assigned", found, 30)
    return found() or 0.0


def test_a_killed_leader_is_followed_in_time(stage: Stage, fleet: Fleet, candidates: Candidates) -> None:
    """A standby only reads; a run created after the leader's death is assigned within the Lease's duration and 3 s."""
    leader = candidates.start_leader()
    fleet.deploy("v1")
    fleet.wait_active("v1")
    standby = candidates.start_standby()
    fleet.start("old", steps=100, seconds=0.1)
    fleet.wait_step("old", 2)
    assert [asked for asked in standby.asked() if asked.verb not in {"get", "list", "watch"}] == []

    leader.process.kill()
    died_at = time.time()
    fleet.start("new", steps=2)

    assert assigned_at(stage, fleet, "new") - died_at < LEASE_SECONDS + 3
    old, new = fleet.wait_phase("old", "Succeeded"), fleet.wait_phase("new", "Succeeded")
    assert (old["epoch"], old["attempts"], new["epoch"], new["attempts"]) == (1, 1, 1, 1)
    assert [line.step for line in fleet.traced("old")] == list(range(1, 101))


@pytest.mark.case("runs: clocks jump, both ways")
def test_clocks_that_are_off_change_nothing(stage: Stage, fleet: Fleet, candidates: Candidates) -> None:
    """The leader's clock is 5 min ahead, the standby's 5 min behind: one leads, and a clean exit is followed in 2 s."""
    leader = candidates.start_leader(WRONG_CLOCK_SECONDS="300")
    fleet.deploy("v1")
    fleet.wait_active("v1")
    standby = candidates.start_standby(WRONG_CLOCK_SECONDS="-300")
    fleet.start("sleeps", steps=2, sleep_after=1, sleep_seconds=LEASE_SECONDS + 1)
    slept = fleet.wait_phase("sleeps", "Succeeded")
    assert leader.is_leading()
    assert (slept["epoch"], slept["attempts"]) == (2, 1)
    begun = [line.at for line in fleet.traced("sleeps")]
    assert begun[1] - begun[0] > LEASE_SECONDS

    told_at = time.time()
    leader.process.signal(signal.SIGTERM)
    fleet.start("new", steps=1)

    assert assigned_at(stage, fleet, "new") - told_at < 2
    stage.wait_for("the leader to end", lambda: leader.process.exit_code == 0, 15)
    assert standby.is_leading()
    assert fleet.wait_phase("new", "Succeeded")["epoch"] == 1
