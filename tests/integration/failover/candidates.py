"""Operators that stand for one Lease, each with a line and a token of its own: so the audit log tells them apart."""

import base64
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import yaml

from hack.stage import ROOT, SYSTEM_NAMESPACE, Json, OperatorProcess, Stage
from tests.cable import Cable
from tests.integration.operator.conftest import QUICK

LEASE_SECONDS = 8
KINDS_WATCHED = 3
MODULES = {"PYTHONPATH": f"{ROOT}:{ROOT / 'hack' / 'cluster'}"}


@dataclass(frozen=True)
class Asked:
    """One request in the audit log."""

    at: float  # when it was answered
    verb: str
    resource: str  # with its subresource
    name: str
    code: int


class Candidate:
    """One operator process."""

    def __init__(self, stage: Stage, name: str, environment: dict[str, str]) -> None:
        self.name, self._stage = name, stage
        self._since = stage.cluster.audit_log.stat().st_size
        self.cable = Cable(stage.cluster.facts.ports["apiserver"])
        config = yaml.safe_load(stage.service_account_kubeconfig().read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{self.cable.port}"
        self._token_id = token_id(config["users"][0]["user"]["token"])
        kubeconfig = stage.state / f"{name}.kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(config))
        is_wrong = any(key.startswith("WRONG_") for key in environment)
        self.process: OperatorProcess = stage.start_operator(
            name,
            module="tests.integration.failover.wrong" if is_wrong else "pinfleet_operator",
            **{**QUICK, **MODULES, **environment, "KUBECONFIG": str(kubeconfig)},
        )

    def log(self) -> list[Json]:
        """Its log so far."""
        lines = self.process.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def is_warm(self) -> bool:
        """Whether everything has been listed once."""
        return sum(1 for line in self.log() if line["event"] == "synced") >= KINDS_WATCHED

    def is_leading(self) -> bool:
        """Whether the Lease names it."""
        return str(lease(self._stage).get("holderIdentity", "")).startswith(f"{self.name}_")

    def asked(self) -> list[Asked]:
        """Every request of its own that the API server has answered."""
        found = list[Asked]()
        with self._stage.cluster.audit_log.open(encoding="utf-8") as file:
            file.seek(self._since)
            for line in file:
                if self._token_id in line and '"objectRef"' in line and line.endswith("\n"):
                    event = json.loads(line)
                    if self._token_id in json.dumps(event["user"]):  # else it is the request that issued the token
                        found.append(_asked(event))
        return found

    def end(self) -> None:
        """Stop it, whatever was done to it."""
        self.cable.mend()
        self.process.stop()
        self.cable.close()


class Candidates:
    """All that a test starts; they end with it."""

    def __init__(self, stage: Stage, prefix: str) -> None:
        self._stage, self._prefix, self._all = stage, prefix, list[Candidate]()

    def start(self, **environment: Any) -> Candidate:
        """One more."""
        made = Candidate(self._stage, f"{self._prefix}-{len(self._all)}", environment)
        self._all.append(made)
        return made

    def start_leader(self, **environment: Any) -> Candidate:
        """One that leads."""
        made = self.start(**environment)
        self._stage.wait_for(f"{made.name} to lead", made.is_leading, 30)
        return made

    def start_standby(self, **environment: Any) -> Candidate:
        """One that stands by with a warm store."""
        made = self.start(**environment)
        self._stage.wait_for(f"{made.name} to be warm", made.is_warm, 30)
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for candidate in reversed(self._all):  # standbys first: nobody takes over for a moment
            candidate.end()


def lease(stage: Stage) -> Json:
    """Who leads, and in which term; empty: nobody ever did."""
    spec: Json = stage.get("lease", "pinfleet-operator", SYSTEM_NAMESPACE).get("spec", {})
    return spec


def token_id(token: str) -> str:
    """A token's id as the audit log writes it."""
    part = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return f"JTI={claims['jti']}"


def _asked(event: Json) -> Asked:
    target = event["objectRef"]
    resource = f"{target['resource']}/{target['subresource']}" if target.get("subresource") else target["resource"]
    code = event.get("responseStatus", {}).get("code", 0)
    return Asked(seconds(event["stageTimestamp"]), event["verb"], resource, target.get("name", ""), code)


def seconds(text: str) -> float:
    """A time of the audit log."""
    return datetime.fromisoformat(text).timestamp()
