"""The whole of a simulated cluster, and what a user, a test or fate does in it."""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import pytest
import structlog.testing

from pinfleet.rules import ALL, Rules
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.errors import NotFound
from tests.sim import pod as sim_pod
from tests.sim.agent import make_agent
from tests.sim.kubelet import SimKubelet
from tests.sim.operator import SimLease, SimOperator
from tests.sim.pod import SimPod
from tests.sim.record import Record
from tests.sim.schema import run_rules
from tests.sim.server import Json, Server

NAMESPACE = "default"
FLEET = "fleet"
TERMINAL = {"Succeeded", "Failed", "Cancelled", "TimedOut"}
STEP_SECONDS = 0.05
BAD_FLEETS: Final[dict[str, Json]] = {
    "bad-template": {"version": "v1", "template": {"spec": {}}},
    "bad-spec": {"version": "v1", "template": 5},
}
BAD_RUNS: Final[dict[str, Json]] = {
    "bad-fleet": {"agentDeployment": "nobody", "input": {}},
    "bad-task": {"agentDeployment": 5, "input": {}},  # nobody can read it
    "bad-template-run": {"agentDeployment": "bad-template", "input": {}},
}


class World:
    """A cluster with one fleet."""

    def __init__(self, *, seed: int, settings: Settings, pod_rules: Rules) -> None:
        self.seed, self.settings = seed, settings
        self.rng = random.Random(seed)
        self.server, self.record, self.lease = Server(), Record(), SimLease()
        self.server.checks.append(run_rules)
        self.kubelet = SimKubelet(self.server, make_agent(), pod_rules, self.record)
        self.operators: list[SimOperator] = []
        self.promoted: list[tuple[float, str]] = []
        self.logs: list[Any] = []
        self.hangs_fleet_watch = False
        self.server.create("namespaces", "", {"metadata": {"name": NAMESPACE}})
        self.server.create("persistentvolumeclaims", NAMESPACE, {"metadata": {"name": "state"}})

    # The operator

    def add_operator(self, *, leads: bool = False) -> SimOperator:
        """Start one more operator process."""
        made = SimOperator(
            f"operator-{len(self.operators)}",
            server=self.server,
            kubelet=self.kubelet,
            lease=self.lease,
            settings=self.settings,
            seed=self.seed,
        )
        made.hangs_fleet_watch = lambda: self.hangs_fleet_watch
        self.operators.append(made)
        made.start()
        if leads:
            made.leader.take()
        return made

    @property
    def operator(self) -> SimOperator:
        """The one that leads, or led last."""
        return next(each for each in reversed(self.operators) if each.identity == self.lease.holder)

    async def replace_operator(self) -> SimOperator:
        """The leader dies, a new process leads."""
        await self.operator.crash()
        return self.add_operator(leads=True)

    def restore(self, seconds: float) -> bool:
        """Put etcd back by so many seconds; not where a run would lose its pin, which nothing could tell it again."""
        server, since = self.server, self.now() - seconds
        at = max((rv for rv, then in server.times.items() if then <= since), default=0)
        lost = [(item, verb) for rv, plural, verb, item in server.history if plural == "agentruns" and rv > at]
        born = {item["metadata"]["uid"] for item, verb in lost if verb == "ADDED"}
        before = {item["metadata"]["uid"] for rv, plural, _, item in server.history
                  if plural == "agentruns" and rv <= at and "version" in item.get("status", {})}  # fmt: skip
        loses_pin = any(
            item["metadata"]["uid"] not in born | before for item, _ in lost if "version" in item.get("status", {})
        )
        if at == 0 or loses_pin:
            return False
        server.restore(at)
        self.lease.transitions = max(1, self.lease.transitions - 1)
        self.kubelet.see_restored()
        return True

    # A user

    def deploy(self, version: str = "v1", **spec: Any) -> None:
        """Apply the fleet with this version."""
        template = {"spec": {"containers": [{"name": "agent", "image": f"registry/agent:{version}"}]}}
        wanted: Json = {
            "version": version,
            "replicas": 1,
            "runsPerPod": 5,
            "state": {"sqlite": {"claimName": "state"}},
            "template": template,
        } | spec
        try:
            self.server.patch("agentdeployments", NAMESPACE, FLEET, {"spec": wanted})
        except NotFound:
            self.server.create("agentdeployments", NAMESPACE, {"metadata": {"name": FLEET}, "spec": wanted})

    def spoil(self) -> None:
        """Create what cannot be served: it must stall nobody else."""
        for name, spec in BAD_FLEETS.items():
            self.server.create("agentdeployments", NAMESPACE, {"metadata": {"name": name}, "spec": spec})
        for name, task in BAD_RUNS.items():
            self.server.create("agentruns", NAMESPACE, {"metadata": {"name": name}, "spec": {"task": task}})

    def start(self, name: str, *, version: str | None = None, limits: Json | None = None, **ask: Any) -> None:
        """Create a run; `ask` is its input."""
        task: Json = {"agentDeployment": FLEET, "input": ask}
        if version is not None:
            task["version"] = version
        if limits is not None:
            task["limits"] = limits
        self.server.create("agentruns", NAMESPACE, {"metadata": {"name": name}, "spec": {"task": task}})

    def cancel(self, name: str) -> None:
        """Set spec.cancel."""
        self.server.patch("agentruns", NAMESPACE, name, {"spec": {"cancel": True}})

    def send(self, name: str, *bodies: int) -> None:
        """Add messages to a run; a message's id is its place."""
        spec = self.server.read("agentruns", NAMESPACE, name)["spec"]
        said = list(spec.get("messages", []))
        said += [{"id": f"m{len(said) + i}", "body": body} for i, body in enumerate(bodies)]
        self.server.patch("agentruns", NAMESPACE, name, {"spec": {"messages": said}})

    def lacks_message(self, name: str) -> bool:
        """Whether the run waits for more messages than were sent to it."""
        spec = self.server.read("agentruns", NAMESPACE, name)["spec"]
        return int(spec["task"]["input"].get("receives", 0)) > len(spec.get("messages", ()))

    def annotate(self, name: str) -> None:
        """Change a run's metadata, which means nothing to anybody."""
        note = {"note": f"{self.now():.3f}"}
        self.server.patch("agentruns", NAMESPACE, name, {"metadata": {"annotations": note}})

    def delete_run(self, name: str) -> None:
        """Delete a run by hand."""
        self.server.remove("agentruns", NAMESPACE, name)

    # Looking

    def run(self, name: str) -> Json:
        """A run's status; empty if it has none or is gone."""
        found = self.server.objects.get(("agentruns", NAMESPACE, name), {})
        status: Json = found.get("status", {})
        return status

    def states(self, name: str) -> list[Json]:
        """Every status that the run has had."""
        history = self.server.history
        return [
            item.get("status", {})
            for _, plural, _, item in history
            if plural == "agentruns" and item["metadata"]["name"] == name
        ]

    def was(self, name: str, phase: str) -> bool:
        """Whether the run was in a phase at any time."""
        return any(status.get("phase") == phase for status in self.states(name))

    def fleet(self) -> Json:
        """The fleet's status."""
        status: Json = self.server.objects.get(("agentdeployments", NAMESPACE, FLEET), {}).get("status", {})
        return status

    def spec(self) -> Json:
        """The fleet's spec."""
        spec: Json = self.server.read("agentdeployments", NAMESPACE, FLEET)["spec"]
        return spec

    def pod_of(self, name: str) -> SimPod:
        """The process that the run is assigned to."""
        return self.kubelet.processes[self.run(name)["podUID"]]

    def now(self) -> float:
        """Virtual seconds."""
        return asyncio.get_running_loop().time()

    def open_runs(self) -> list[str]:
        """Names of the runs that have not ended."""
        runs = self.server.all("agentruns")
        names = [run["metadata"]["name"] for run in runs if run.get("status", {}).get("phase") not in TERMINAL]
        return [name for name in names if name not in BAD_RUNS]

    def journal_rows(self) -> dict[str, Json]:
        """The journal's runs by uid, with the versions of their steps."""
        return self.kubelet.journal.rows()

    # Waiting

    async def until(
        self, holds: Callable[[], object], seconds: float = 60.0, step_seconds: float = STEP_SECONDS
    ) -> bool:
        """Wait until something holds; whether it did in time."""
        end = self.now() + seconds
        while not holds():
            if self.now() >= end:
                return False
            await asyncio.sleep(step_seconds)
        return True

    async def until_active(self, version: str = "v1", seconds: float = 60.0) -> None:
        """Wait until a version is active."""
        assert await self.until(lambda: self.fleet().get("activeVersion") == version, seconds), self.fleet()

    async def until_begun(self, name: str, step: int, seconds: float = 60.0) -> None:
        """Wait until a step's body of the run began."""
        assert await self.until(lambda: step in self.record.steps_begun(name), seconds), self.run(name)

    async def all_ended(self, seconds: float = 600.0) -> bool:
        """Wait until every run has ended; whether they did in time."""
        end = self.now() + seconds
        while self.open_runs() and self.now() < end:  # noqa: ASYNC110 - virtual time
            await asyncio.sleep(1.0)
        return not self.open_runs()


class _Logs(logging.Handler):
    def __init__(self, lines: list[Any]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append({**record.__dict__, "message": record.getMessage()})


@contextlib.asynccontextmanager
async def cluster(
    *, seed: int = 0, settings: Settings | None = None, pod_rules: Rules = ALL, leads: bool = True
) -> AsyncIterator[World]:
    """A cluster with a leading operator; inside ``run_virtual`` alone."""
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        sim_pod.install(patch)
        random.seed(seed)  # the operator's jitter
        world = World(seed=seed, settings=settings or Settings(), pod_rules=pod_rules)
        world.logs = stack.enter_context(structlog.testing.capture_logs())
        handler = _Logs(world.logs)
        logger = logging.getLogger("pinfleet")
        logger.addHandler(handler)
        stack.callback(logger.removeHandler, handler)
        if leads:
            world.add_operator(leads=True)
        try:
            yield world
        finally:
            for each in world.operators:
                each.wake()
                await each.crash()
            world.kubelet.stop()
            await asyncio.sleep(0.01)
