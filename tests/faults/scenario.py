"""The reference scenario: a fleet's life with open runs at each turn, and the state in which it ends.

Runs wait for files, not for times: whatever a fault delays, each step of the story finds what the one before left.
"""

import json
import time
from collections import Counter
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Self

from tests.faults.admin import CORE, CUSTOM, Admin, wait_for
from tests.faults.calls import Json
from tests.integration.fleet import TERMINAL, fleet_manifest

FLEET: Final = "steps"
SECONDS: Final = 100.0  # for each turn of the story; a hung watch is noticed after 75


@dataclass(frozen=True)
class EndState:
    """What a user would find, without what differs between two undisturbed runs."""

    runs: tuple[tuple[Any, ...], ...]  # name, phase, reason, version, steps, attempts, result
    active: str | None
    versions: tuple[tuple[str, str], ...]  # id and phase, by the fleet
    objects: tuple[tuple[str, str], ...]  # name and phase, of each AgentVersion
    pods: tuple[tuple[str, int], ...]  # version and number of its pods
    conditions: tuple[tuple[str, str, str], ...]  # type, status, reason

    @classmethod
    def of(cls, found: dict[str, Any]) -> Self:
        """One that was written as JSON, whose tuples are lists."""
        return cls(**{part: _tuples(value) for part, value in found.items()})

    def with_end(self, run: str, end: tuple[str, str]) -> Self:
        """The same, but for one run's phase and reason, and its result, which is not there."""
        runs = ((each[0], *end, *each[3:-1], "null") if each[0] == run else each for each in self.runs)
        return replace(self, runs=tuple(runs))

    def differences(self, other: "EndState") -> list[str]:
        """In which parts another state is not this one, in words."""
        found = []
        for part in fields(self):
            expected, actual = getattr(self, part.name), getattr(other, part.name)
            if expected != actual:
                found.append(f"{part.name}: {_minus(expected, actual)} became {_minus(actual, expected)}")
        return found


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value


def _minus(one: Any, other: Any) -> Any:
    return [each for each in one if each not in other] if isinstance(one, tuple) and isinstance(other, tuple) else one


class Story:
    """The scenario in one namespace."""

    def __init__(self, admin: Admin, namespace: str, folder: Path, trace: Path, port: int) -> None:
        self._admin, self._namespace, self._folder, self._trace, self._port = admin, namespace, folder, trace, port
        self._custom, self._core = f"{CUSTOM}/{namespace}", f"{CORE}/{namespace}"

    async def prepare(self) -> None:
        """Namespace and claim."""
        await self._admin.ask("POST", CORE, {"metadata": {"name": self._namespace}})
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        await self._admin.ask(
            "POST", f"{self._core}/persistentvolumeclaims", {"metadata": {"name": "state"}, "spec": spec}
        )

    async def live(self) -> None:
        """Create, roll v1 -> v2 with open runs, v1 again while v2 has an open run, until only v1 is left."""
        await self._deploy("v1")
        await self._start("old", steps=4, gate_at=2)
        await self._start("sleeper", steps=2, sleep_after=1, sleep_seconds=2.5)
        await self._start("stopped", steps=3, gate_at=2)
        await self._begun("old", "stopped")
        await self._admin.merge(f"{self._custom}/agentruns/stopped", {"spec": {"cancel": True}})
        await self._deploy("v2")
        await self._start("new", steps=4, gate_at=2)
        await self._begun("new")
        await self._deploy("v1")
        await self._start("again", steps=2)
        await self._ended("stopped", "again", "sleeper")
        self._open("old", "new")
        await self._ended("old", "new")

    async def die(self) -> None:
        """Delete the fleet while a run of it is open; it goes once the run has ended."""
        await self._start("last", steps=4, gate_at=2)
        await self._begun("last")
        await self._admin.ask("DELETE", f"{self._custom}/agentdeployments/{FLEET}")
        self._open("last")
        await self._ended("last")
        await wait_for("the fleet to go", self._is_gone, SECONDS)

    async def touch(self) -> None:
        """Change what means nothing, so that a pass is made over the fleet, or over its runs once it is gone."""
        plural, name = ("agentruns", "old") if await self._is_gone() else ("agentdeployments", FLEET)
        await self._admin.merge(
            f"{self._custom}/{plural}/{name}", {"metadata": {"annotations": {"touched": str(time.monotonic())}}}
        )

    async def state(self) -> EndState:
        """How things stand now."""
        fleet = await self._admin.get(f"{self._custom}/agentdeployments/{FLEET}")
        status: Json = fleet.get("status", {})
        versions = await self._admin.list(f"{self._custom}/agentversions")
        metas = [each["metadata"] for each in await self._admin.list(f"{self._core}/pods")]
        pods = Counter(each.get("labels", {}).get("pinfleet.dev/version", "")
                       for each in metas if "deletionTimestamp" not in each)  # fmt: skip
        return EndState(
            runs=tuple(sorted(_of_run(each) for each in await self._admin.list(f"{self._custom}/agentruns"))),
            active=status.get("activeVersion"),
            versions=tuple(sorted((each["name"], each["phase"]) for each in status.get("versions", []))),
            objects=tuple(sorted((v["metadata"]["name"], v.get("status", {}).get("phase", "")) for v in versions)),
            pods=tuple(sorted(pods.items())),
            conditions=tuple(sorted((c["type"], c["status"], c["reason"]) for c in status.get("conditions", []))),
        )

    # Turns

    async def _deploy(self, version: str) -> None:
        manifest = fleet_manifest(FLEET, version, {"TRACE": str(self._trace)}, port=self._port)
        await self._admin.apply(f"{self._custom}/agentdeployments", manifest)

        async def is_active() -> bool:
            found = await self._admin.get(f"{self._custom}/agentdeployments/{FLEET}")
            return bool(found.get("status", {}).get("activeVersion") == version)

        await wait_for(f"{version} to be active", is_active, SECONDS)

    async def _start(self, name: str, **given: Any) -> None:
        task = {"agentDeployment": FLEET, "input": {"gate": str(self._gate(name))} | given}
        manifest = {"apiVersion": "pinfleet.dev/v1alpha1", "kind": "AgentRun", "metadata": {"name": name}}
        await self._admin.ask("POST", f"{self._custom}/agentruns", manifest | {"spec": {"task": task}})

    async def _begun(self, *runs: str) -> None:
        """Until the second step of each has begun."""

        async def have_begun() -> bool:
            lines = self._trace.read_text().splitlines() if self._trace.exists() else []
            found = {each["run"] for each in map(json.loads, lines) if each["step"] >= 2}
            return found >= set(runs)

        await wait_for(f"the second step of {', '.join(runs)}", have_begun, SECONDS)

    async def _ended(self, *runs: str) -> None:
        async def have_ended() -> bool:
            found = [await self._admin.get(f"{self._custom}/agentruns/{run}") for run in runs]
            return all(each.get("status", {}).get("phase") in TERMINAL for each in found)

        await wait_for(f"the end of {', '.join(runs)}", have_ended, SECONDS)

    def _gate(self, name: str) -> Path:
        return self._folder / f"{name}.gate"

    def _open(self, *names: str) -> None:
        for name in names:
            self._gate(name).touch()

    async def _is_gone(self) -> bool:
        return not await self._admin.get(f"{self._custom}/agentdeployments/{FLEET}")


def _of_run(run: Json) -> tuple[Any, ...]:
    status = run.get("status", {})
    parts = ("phase", "reason", "version", "steps", "attempts")
    return (run["metadata"]["name"], *(str(status.get(part)) for part in parts), json.dumps(status.get("result")))
