"""The bench's world: a real Kubernetes, a fleet of hollow pods, and runs for the operator and for its rival."""

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import msgspec
import yaml

from bench.admin import MERGE, Admin, Json
from bench.etcd import Etcd
from bench.http1 import Job, Outcome, Target, write_job
from bench.measure import Audit, wait_for, wait_quiet
from bench.pods import HollowServer, Node
from hack.stage import ROOT, SERVICE_ACCOUNT, SYSTEM_NAMESPACE, OperatorProcess, Stage
from pinfleet_operator.api.child import decode_pod
from pinfleet_operator.api.mirror import PodMirror
from pinfleet_operator.api.run import Limits, decode_run
from pinfleet_operator.runs import patch
from pinfleet_operator.runs.judge.situation import Assign
from pinfleet_operator.runs.place import Seat

FLEET, PORT = "load", 8080
OURS, BARE = "bench", "bare"  # namespaces: of the operator's runs, and of the bare client's
ACCOUNT = f"system:serviceaccount:{SYSTEM_NAMESPACE}:{SERVICE_ACCOUNT}"
API = "/apis/pinfleet.dev/v1alpha1/namespaces"
MAKERS = 16  # connections that create runs
LIMITS = Limits(max_steps=1000, active_seconds=86_400, deadline_seconds=2_592_000, max_attempts=3)
PROFILE = os.environ.get("BENCH_PROFILE", "")  # a command that is run with the operator's pid during each unit


def runs_path(namespace: str, name: str = "", subresource: str = "") -> str:
    """Path of runs."""
    return "/".join(part for part in (API, namespace, "agentruns", name, subresource) if part)


def runs_key(namespace: str, prefix: str = "") -> str:
    """What the names of runs begin with in etcd."""
    return f"/registry/pinfleet.dev/agentruns/{namespace}/{prefix}"


def run_manifest(name: str, fleet: str = FLEET) -> Json:
    """A run with an input of some 100 bytes."""
    task = {"agentDeployment": fleet, "input": {"question": "what is the answer to everything " * 3}}
    kind = {"apiVersion": "pinfleet.dev/v1alpha1", "kind": "AgentRun"}
    return {**kind, "metadata": {"name": name}, "spec": {"task": task}}


class World:
    """Cluster, fleet and pods; a context manager."""

    def __init__(self, *, pods: int, runs_per_pod: int) -> None:
        self.pods, self.runs_per_pod = pods, runs_per_pod
        self._folder = tempfile.TemporaryDirectory(prefix="pinfleet-bench-")
        self.state = Path(self._folder.name)
        self.stage = Stage(self.state, ROOT / "tests" / "integration" / "images.yaml")
        self.hollow: HollowServer
        self.admin: Admin
        self.node: Node
        self.etcd: Etcd
        self._jobs = itertools.count()

    def __enter__(self) -> Self:
        try:
            self.stage.up()
            self.hollow, self.admin = HollowServer(), Admin(self.stage.cluster)
            self.etcd = Etcd(self.stage.cluster.facts.ports["etcd"])
            self.node = Node(self.admin, self.stage.cluster.facts.octet).__enter__()
            for namespace in (OURS, BARE):
                self.stage.kubectl("create", "namespace", namespace)
            self._deploy()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "node"):
            self.node.__exit__()
        if hasattr(self, "hollow"):
            self.hollow.stop()
        self.stage.down()
        self._folder.cleanup()

    def facts(self) -> Json:
        """What stands in every bench's file."""
        version = self.admin.ask("GET", "/version")["gitVersion"]
        return {"kubernetes": version, "pods": self.pods, "runs_per_pod": self.runs_per_pod}

    # The fleet

    def _deploy(self) -> None:
        """A fleet on hollow pods, active."""
        container = {"name": "agent", "image": "registry.local/hollow:v1"}
        spec: Json = {
            "version": "v1",
            "replicas": self.pods,
            "maxReplicas": self.pods,
            "runsPerPod": self.runs_per_pod,
            "port": PORT,
            "template": {"spec": {"nodeSelector": {"bench": "hollow"}, "containers": [container]}},
        }
        manifest = {"apiVersion": "pinfleet.dev/v1alpha1", "kind": "AgentDeployment", "metadata": {"name": FLEET}}
        self.stage.apply(manifest | {"spec": spec}, OURS)
        with self.stage.operator() as operator:
            wait_for("the fleet to be active", self._is_active, 120, pause=0.3)
            wait_quiet(operator.pid)

    def _is_active(self) -> bool:
        self.node.run_pods(OURS, self.hollow, PORT, self.runs_per_pod)
        fleet = self.admin.ask("GET", f"{API}/{OURS}/agentdeployments/{FLEET}")
        versions = fleet.get("status", {}).get("versions", [])
        return any(v["phase"] == "Active" and v["ready"] == self.pods for v in versions)

    def pause(self, *, is_paused: bool) -> None:
        """Hold new runs back, or let them go."""
        path = f"{API}/{OURS}/agentdeployments/{FLEET}"
        self.admin.ask("PATCH", path, {"spec": {"paused": is_paused}}, MERGE)

    @contextmanager
    def operator(self, module: str = "pinfleet_operator") -> Iterator[OperatorProcess]:
        """An operator for the length of a block, with its default settings and log level; it leads and is at rest."""
        wait_for("no operator to poll", lambda: self.hollow.polls() == 0, 10)
        with self.stage.operator(module=module, PYTHONPATH=str(ROOT)) as operator:
            wait_for("the operator to poll", lambda: self.hollow.polls() == len(self.node.given), 60)
            wait_quiet(operator.pid)
            yield operator

    # Runs

    def create_runs(self, namespace: str, n: int, prefix: str = "run") -> None:
        """So many runs, Pending."""
        with self.creating(namespace, n, prefix):
            pass

    @contextmanager
    def creating(self, namespace: str, n: int, prefix: str = "run") -> Iterator[None]:
        """Create runs as fast as may be during a block; it ends when all are there."""
        bodies = (msgspec.json.encode(run_manifest(f"{prefix}-{i:05d}")).decode() for i in range(n))
        requests = [(runs_path(namespace), body) for body in bodies]
        with self.sending(Job(self.admin.target, "POST", "application/json", MAKERS, requests)) as outcome:
            yield
        assert outcome().ok == n, outcome()

    def delete_runs(self, namespace: str, prefix: str = "") -> None:
        """Delete the runs of a namespace, or those with such names, and let the pods forget all; no operator is up."""
        self.etcd.delete(runs_key(namespace, prefix))
        wait_for("the runs to be gone", lambda: bool(prefix) or self.count_runs(namespace) == 0, 60)
        if namespace == OURS:
            self.hollow.do("clear")

    def count_runs(self, namespace: str) -> int:
        """How many runs a namespace has."""
        page = self.admin.ask("GET", f"{runs_path(namespace)}?limit=1")
        return len(page["items"]) + int(page["metadata"].get("remainingItemCount", 0))

    def runs(self, namespace: str) -> list[Json]:
        """Every run of a namespace."""
        items: list[Json] = self.admin.ask("GET", runs_path(namespace))["items"]
        return items

    # The bare client

    def account(self) -> Target:
        """The operator's own account."""
        config = yaml.safe_load(self.stage.service_account_kubeconfig().read_text())
        target = self.admin.target
        return Target(target.host, target.port, target.ca, token=config["users"][0]["user"]["token"])

    def send(self, job: Job) -> Outcome:
        """Run a job in a process of its own."""
        with self.sending(job) as outcome:
            pass
        return outcome()

    @contextmanager
    def sending(self, job: Job) -> Iterator[Callable[[], Outcome]]:
        """Run a job in a process of its own during a block; afterwards what is given tells its outcome."""
        file = self.state / f"job-{next(self._jobs)}.json"
        write_job(file, job)
        process = subprocess.Popen([sys.executable, "-m", "bench.bare", str(file)], stdout=subprocess.PIPE, text=True)
        told: list[str] = []
        try:
            yield lambda: msgspec.json.decode(told[0], type=Outcome)
            told.append(process.communicate(timeout=300)[0])
        finally:
            process.kill()
            process.wait()
            file.unlink()
        assert process.returncode == 0, f"the job ended with {process.returncode}; its words are above"

    def assignments(self, namespace: str) -> list[tuple[str, str]]:
        """Path and body of the write that the operator would make for each run."""
        found = self.admin.ask("GET", f"/api/v1/namespaces/{OURS}/pods?limit={self.pods}")["items"]
        pods = [decode_pod(msgspec.json.encode(pod)) for pod in found]
        requests = []
        for i, item in enumerate(self.runs(namespace)):
            run, pod = decode_run(msgspec.json.encode(item)), pods[i % len(pods)]
            at = run.created_at + timedelta(seconds=1, microseconds=123_456)
            mirror = PodMirror(pod_uid=pod.uid, version="v1", boot="hollow", n=1, capacity=1, answered_at=at)
            seat = Seat(pod, "v1", mirror, taken=0, runs_per_pod=1, is_closed=False)
            body = patch.assignment(run, Assign("v1", attempts=1), seat, LIMITS, 0, at)
            requests.append((runs_path(namespace, run.name, "status"), patch.encode(run, body).decode()))
        return requests

    @contextmanager
    def idle_watcher(self, namespace: str) -> Iterator[None]:
        """A process that watches runs and does nothing with them."""
        path = f"{runs_path(namespace)}?watch=true"
        target = msgspec.json.encode(self.account()).decode()
        process = subprocess.Popen([sys.executable, "-m", "bench.watcher", target, path])
        try:
            yield
        finally:
            process.kill()
            process.wait()

    def audit(self) -> Audit:
        """The audit log from now on."""
        return Audit(self.stage.cluster.audit_log)


def write_bare(world: World, requests: list[tuple[str, str]], connections: int) -> dict[str, Any]:
    """Write status bodies with the bare client beside one idle watcher; returns rate and CPU per write."""
    with world.idle_watcher(BARE):
        audit = world.audit()
        job = Job(world.account(), "PATCH", "application/merge-patch+json", connections, requests)
        outcome = world.send(job)
        written = audit.status_writes(BARE, ACCOUNT)
    assert outcome.ok == len(requests) == written.ok, (outcome, written)
    return {
        "who": "bare",
        "connections": connections,
        "n": written.ok,
        "per_second": written.per_second,
        "cpu_ms": 1000 * outcome.cpu_seconds / written.ok,
    }
