"""A fleet whose journal is on a real PostgreSQL, prepared and named as its documentation says."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from hack.stage import ROOT, Json, OperatorProcess, Stage
from tests.integration.fleet import Fleet
from tests.integration.recorder import Recorder
from tests.integration.recording import StepRow
from tests.postgres import PostgresServer

pytestmark = pytest.mark.cluster
SCHEMA, PASSWORD = "support", "of the pods' role"
EXAMPLE = yaml.safe_load((ROOT / "examples/support/fleet-postgres.yaml").read_text())["spec"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    """Start a server, and prepare the fleet's schema by the command."""
    with PostgresServer() as started:
        (tmp_path / "admin-url").write_text(started.url())
        (tmp_path / "pods-password").write_text(PASSWORD)
        words = ["db", "prepare", SCHEMA, "--state", "admin-url", "--password-file", "pods-password"]
        subprocess.run([sys.executable, "-m", "pinfleet.cli", *words], cwd=tmp_path, check=True)
        yield started


@pytest.fixture
def stored(fleet: Fleet, stage: Stage, server: PostgresServer, recorder: Recorder) -> Fleet:
    """Name it to the fleet, and deploy that with two pods."""
    url = server.url(f"{SCHEMA}_pods", PASSWORD)
    secret = EXAMPLE["state"]["postgres"]["secretName"]
    stage.kubectl("create", "secret", "generic", secret, f"--from-literal=url={url}", "-n", fleet.namespace)
    recorder.also_reads(url)
    return fleet


def deploy(fleet: Fleet) -> None:
    """As the example says: with two pods, so that a run can go on elsewhere at once."""
    kept = EXAMPLE["journalRetentionSeconds"]
    fleet.deploy("v1", replicas=EXAMPLE["replicas"], state=EXAMPLE["state"], journalRetentionSeconds=kept)
    fleet.wait_active("v1")


def rows_of(recorder: Recorder, fleet: Fleet, run: str) -> list[StepRow]:
    """What the journal holds of a run's steps, in order."""
    uid = fleet.stage.get("agentrun", run, fleet.namespace)["metadata"]["uid"]
    recording = recorder.of(fleet.namespace, fleet.trace)
    return sorted((row for row in recording.steps if row.run == uid), key=lambda row: row.n)


@pytest.mark.case("INV-2", "INV-4")
def test_runs_outlive_their_pods(stage: Stage, stored: Fleet, operator: OperatorProcess, recorder: Recorder) -> None:
    """A run whose pod is killed goes on elsewhere; one that parked wakes there; recorded steps do not run again."""
    deploy(stored)
    stored.start("sleeper", steps=4, sleep_after=2, sleep_seconds=5)
    stored.wait_phase("sleeper", "Parked")
    stored.start("run", steps=20, seconds=0.1)
    stored.wait_step("run", 5)
    killed = stored.run("run")["podUID"]
    os.kill(stage.pod_pid(killed), signal.SIGKILL)
    last, woken = stored.wait_phase("run", "Succeeded"), stored.wait_phase("sleeper", "Succeeded")

    assert (last["epoch"], last["podUID"] != killed, last["result"]["steps"]) == (2, True, 20)
    assert set(stored.repeated("run").values()) <= {2}
    assert len(stored.repeated("run")) <= 1  # the one that was under way
    assert (woken["epoch"], stored.repeated("sleeper")) == (2, {})
    rows = rows_of(recorder, stored, "run")
    assert [row.n for row in rows] == list(range(1, 21))
    assert {row.epoch for row in rows} == {1, 2}


@pytest.mark.case("runs: no journal in the middle of a step or at its commit")
def test_a_database_that_restarts_disturbs_no_run(
    stage: Stage, stored: Fleet, server: PostgresServer, operator: OperatorProcess, tmp_path: Path
) -> None:
    """While it is gone pods say so and a step waits for its commit; then the run goes on where it is, on its pod."""
    deploy(stored)
    stored.start("run", steps=8, gate_at=4, gate=str(tmp_path / "gate"))
    stored.wait_step("run", 4)
    before = stored.run("run")["podUID"]
    server.kill()
    (tmp_path / "gate").touch()
    stage.wait_for("the pods to be not ready", lambda: not any(map(is_ready, stored.pods())), 20)
    begun = [line.step for line in stored.traced("run")]
    server.start()
    last = stored.wait_phase("run", "Succeeded")

    assert begun == [1, 2, 3, 4]
    assert [line.step for line in stored.traced("run")] == list(range(1, 9))
    assert (last["epoch"], last["podUID"]) == (1, before)
    stage.wait_for("the pods to be ready again", lambda: all(map(is_ready, stored.pods())), 20)


def is_ready(pod: Json) -> bool:
    """Whether Kubernetes calls it Ready."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
