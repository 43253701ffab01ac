"""A fleet of the test agent in real pods: its trace lies beside the journal in the claim, and a pod reads it there."""

import json
from typing import Any

from hack.stage import Json, StageError
from tests.e2e.stage import RealStage, reader
from tests.integration.fleet import Fleet, Traced

TRACE = "/var/lib/pinfleet/state/trace.jsonl"


class RealFleet(Fleet):
    """One AgentDeployment of the test agent, in a namespace of its own."""

    stage: RealStage

    def __init__(self, stage: RealStage, namespace: str, name: str = "steps") -> None:
        super().__init__(stage, namespace, name)
        stage.wait_for("the namespace's account", lambda: stage.exists("serviceaccount", "default", namespace), 30)
        stage.apply(reader(namespace))
        stage.kubectl("wait", "pod", "reader", "-n", namespace, "--for=condition=Ready", "--timeout=50s")

    def manifest(self, version: str = "v1", *, env: dict[str, str] | None = None, **given: Any) -> Json:
        """The fleet with this version of the agent; `memory` limits its container."""
        memory = given.pop("memory", None)
        made = super().manifest(version, env={"TRACE": TRACE} | (env or {}), **given)
        pod = made["spec"]["template"]["spec"]
        pod["securityContext"] = {"fsGroup": 65532}
        if memory is not None:
            pod["containers"][0]["resources"] = {"limits": {"memory": memory}}
        return made

    def traced(self, run: str | None = None) -> list[Traced]:
        """Every beginning of a step's body, in order."""
        try:
            text = self.stage.kubectl("exec", "-n", self.namespace, "reader", "--", "cat", "/state/trace.jsonl")
        except StageError as err:
            if "No such file" in str(err):
                return []
            raise
        lines = [Traced(**json.loads(line)) for line in text.splitlines()]
        return [line for line in lines if run is None or line.run == run]

    def check_whole(self, run: str, steps: int, *, again: int = 0) -> None:
        """Every step of a run began, none that was recorded began again.

        Args:
            run: the run.
            steps: how many it has.
            again: how many steps at most may have begun twice: one that a crash cut off was not recorded.
        """
        seen = self.traced(run)
        assert sorted({line.step for line in seen}) == list(range(1, steps + 1))
        assert len(seen) - steps <= again, f"began again: {self.repeated(run)}"
        assert {line.version for line in seen} == {self.run(run)["version"]}
