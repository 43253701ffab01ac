"""The operator is restarted, one replica after the other, as a Deployment does it: no run notices."""

import signal

import pytest

from hack.stage import Stage
from tests.integration.failover.candidates import Candidate, Candidates
from tests.integration.failover.hollow_fleet import NAME, hollow_fleet_on
from tests.integration.fleet import Fleet
from tests.integration.recorder import writes_of

pytestmark = [pytest.mark.cluster, pytest.mark.case("INV-20")]

OPEN_RUNS, STEPS = 1000, 400


def replace(stage: Stage, candidates: Candidates, old: Candidate) -> Candidate:
    """Start one more replica; once it is ready, tell an old one to end, and wait until it has."""
    new = candidates.start_standby()
    old.process.signal(signal.SIGTERM)
    stage.wait_for(f"{old.name} to end", lambda: old.process.exit_code == 0, 20)
    return new


@pytest.mark.timeout(300)
def test_no_run_notices_a_rolling_restart(stage: Stage, fleet: Fleet, candidates: Candidates) -> None:
    """1,000 open runs keep pod and epoch and are offered once; steps go on; new runs are served all the time."""
    replicas = [candidates.start_leader()]
    fleet.deploy("v1")
    fleet.wait_active("v1")
    with hollow_fleet_on(stage, fleet.namespace) as hollow:
        hollow.deploy()
        hollow.start(OPEN_RUNS)
        replicas.append(candidates.start_standby())
        fleet.start("steps", steps=STEPS, seconds=0.05)
        fleet.wait_step("steps", 2)
        before = {run["metadata"]["uid"]: run["status"] for run in hollow.runs()}
        written = len(writes_of(stage.cluster.audit_log, fleet.namespace))

        for i, replica in enumerate(list(replicas)):
            replicas.append(replace(stage, candidates, replica))
            fleet.start(f"new-{i}", steps=2)
            assert fleet.wait_phase(f"new-{i}", "Succeeded")["epoch"] == 1

        after = {run["metadata"]["uid"]: run["status"] for run in hollow.runs()}
        writes = writes_of(stage.cluster.audit_log, fleet.namespace)[written:]
        assert [w for w in writes if w.resource.startswith("agentruns") and w.name.startswith(NAME)] == []
        assert after == before
        assert {(status["epoch"], status["attempts"]) for status in after.values()} == {(1, 1)}
        assert hollow.server.do("offers") == {uid: [1] for uid in before}
        steps = fleet.wait_phase("steps", "Succeeded", seconds=90)
    assert (steps["epoch"], steps["attempts"]) == (1, 1)
    assert [line.step for line in fleet.traced("steps")] == list(range(1, STEPS + 1))
