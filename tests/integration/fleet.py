"""A fleet under test: manifests, runs, and the trace that the test agent writes outside of its journal."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.stage import Json, Stage

IMAGES = Path(__file__).parent / "images.yaml"
TERMINAL = {"Succeeded", "Failed", "Cancelled", "TimedOut"}


@dataclass(frozen=True)
class Traced:
    """One beginning of a step's body."""

    at: float
    run: str
    step: int
    epoch: int
    pod: str
    version: str


def trace_file(stage: Stage, namespace: str) -> Path:
    """Where the agents of a namespace write their trace."""
    return stage.state / f"{namespace}.trace"


def fleet_manifest(
    name: str,
    version: str,
    variables: dict[str, str],
    *,
    image: str | None = None,
    annotations: dict[str, str] | None = None,
    **spec: Any,
) -> Json:
    """A fleet of the test agent, whose code answers with its version; `spec` adds to its spec."""
    container = {
        "name": "agent",
        "image": image or "registry.local/steps:v1",
        "command": ["pinfleet-agent", "serve", "agent:agent"],
        "env": [{"name": key, "value": value} for key, value in ({"CODE": version} | variables).items()],
    }
    template = {
        "metadata": {"annotations": annotations or {}},
        "spec": {"terminationGracePeriodSeconds": 2, "containers": [container]},
    }
    known: Json = {
        "version": version,
        "replicas": 1,
        "runsPerPod": 5,
        "state": {"sqlite": {"claimName": "state"}},
        "template": template,
    }
    return {
        "apiVersion": "pinfleet.dev/v1alpha1",
        "kind": "AgentDeployment",
        "metadata": {"name": name},
        "spec": known | spec,
    }


class Fleet:
    """One AgentDeployment of the test agent, in a namespace of its own."""

    def __init__(self, stage: Stage, namespace: str, name: str = "steps") -> None:
        self.stage, self.namespace, self.name = stage, namespace, name
        self.trace = trace_file(stage, namespace)
        stage.kubectl("create", "namespace", namespace)
        stage.apply(self._claim(), namespace)

    def _claim(self) -> Json:
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "state"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }

    def deploy(self, version: str = "v1", **given: Any) -> None:
        """Apply the fleet with this version of the agent; `given` goes to `manifest`."""
        self.stage.apply(self.manifest(version, **given), self.namespace)

    def manifest(
        self,
        version: str = "v1",
        *,
        image: str | None = None,
        annotations: dict[str, str] | None = None,
        env: dict[str, str] | None = None,
        **spec: Any,
    ) -> Json:
        """The fleet with this version of the agent; `spec` adds to its spec."""
        variables = {"TRACE": str(self.trace)} | (env or {})
        return fleet_manifest(self.name, version, variables, image=image, annotations=annotations, **spec)

    def start(self, name: str, *, limits: Json | None = None, version: str | None = None, **given: Any) -> None:
        """Create a run; `given` is its input."""
        self.start_with(name, given, limits=limits, version=version)

    def start_with(self, name: str, given: Any, *, limits: Json | None = None, version: str | None = None) -> None:
        """Create a run with any JSON as its input."""
        task: Json = {"agentDeployment": self.name, "input": given}
        if limits is not None:
            task["limits"] = limits
        if version is not None:
            task["version"] = version
        manifest = {
            "apiVersion": "pinfleet.dev/v1alpha1",
            "kind": "AgentRun",
            "metadata": {"name": name},
            "spec": {"task": task},
        }
        self.stage.kubectl("create", "-n", self.namespace, "-f", "-", given=json.dumps(manifest))

    def send(self, run: str, message: str, body: Any) -> None:
        """Send a message to a run, as one of many senders who do not know of each other."""
        spec: Json = {"messages": [{"id": message, "body": body}]}
        manifest = {
            "apiVersion": "pinfleet.dev/v1alpha1",
            "kind": "AgentRun",
            "metadata": {"name": run},
            "spec": spec,
        }
        arguments = ["apply", "--server-side", f"--field-manager={message}", "--validate=false", "-f", "-"]
        self.stage.kubectl(*arguments, "-n", self.namespace, given=json.dumps(manifest))

    def decide(self, run: str, request_hash: str, decision: str = "approved", name: str = "") -> None:
        """Decide on what a run asks for, as the administrator."""
        uid = self.stage.get("agentrun", run, self.namespace)["metadata"]["uid"]
        manifest = {
            "apiVersion": "pinfleet.dev/v1alpha1",
            "kind": "AgentApproval",
            "metadata": {"name": name or f"{run}-{request_hash[:8]}"},
            "spec": {
                "run": {"name": run, "uid": uid},
                "requestHash": request_hash,
                "decision": decision,
                "approver": "admin",
            },
        }
        self.stage.kubectl("create", "-n", self.namespace, "-f", "-", given=json.dumps(manifest))

    # Reading

    def run(self, name: str) -> Json:
        """A run's status."""
        found: Json = self.stage.get("agentrun", name, self.namespace).get("status", {})
        return found

    def status(self) -> Json:
        """The fleet's status."""
        found: Json = self.stage.get("agentdeployment", self.name, self.namespace).get("status", {})
        return found

    def version(self, name: str) -> Json:
        """One version's entry in the fleet's status."""
        return next((v for v in self.status().get("versions", []) if v["name"] == name), {})

    def condition(self, kind: str, fleet: str | None = None) -> Json:
        """One condition of the fleet, or of another one in its namespace."""
        status = self.stage.get("agentdeployment", fleet or self.name, self.namespace).get("status", {})
        return next((c for c in status.get("conditions", []) if c["type"] == kind), {})

    def pods(self, version: str | None = None) -> list[Json]:
        """The fleet's pods, of one version or all."""
        selector = f"pinfleet.dev/fleet={self.name}" + (f",pinfleet.dev/version={version}" if version else "")
        return self.stage.list("pods", self.namespace, "-l", selector)

    def traced(self, run: str | None = None) -> list[Traced]:
        """Every beginning of a step's body, in order."""
        if not self.trace.exists():
            return []
        lines = [Traced(**json.loads(line)) for line in self.trace.read_text().splitlines()]
        return [line for line in lines if run is None or line.run == run]

    def repeated(self, run: str) -> dict[int, int]:
        """Steps whose body began more than once, with how often."""
        return {step: n for step, n in Counter(line.step for line in self.traced(run)).items() if n > 1}

    # Waiting

    def wait_active(self, version: str, seconds: float = 30) -> None:
        """Until new runs go to the version."""
        self.stage.wait_for(
            f"{self.name} to be active on {version}", lambda: self.status().get("activeVersion") == version, seconds
        )

    def wait_phase(self, run: str, *phases: str, seconds: float = 40) -> Json:
        """Until a run has one of the phases; returns its status."""

        def reached() -> Json | None:
            status = self.run(run)
            return status if status.get("phase") in phases else None

        found: Json = self.stage.wait_for(f"{run} to be {' or '.join(phases)}", reached, seconds)
        return found

    def wait_step(self, run: str, step: int, seconds: float = 30) -> None:
        """Until the body of a run's step has begun."""
        self.stage.wait_for(
            f"{run} to begin step {step}", lambda: any(t.step >= step for t in self.traced(run)), seconds
        )
