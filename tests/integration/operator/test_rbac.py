"""The operator's role against the audit log of a whole life: nothing is refused, and nothing is granted in vain."""

import json

import pytest

from hack.stage import OperatorProcess, Stage, operator_manifests
from tests.integration.fleet import Fleet

pytestmark = pytest.mark.cluster

Right = tuple[str, str]  # resource (with its subresource), verb

SELDOM = {
    ("secrets", "patch"),  # rotation of a version's token
    ("secrets", "delete"),  # as above
    ("agentruns", "get"),  # after a write with a lost answer
    ("pods", "get"),  # as above
    ("pods", "list"),  # where the API server has no watch-list
    ("agentversions", "list"),  # as above
    ("agentapprovals", "list"),  # as above
}
"""Granted for what an undisturbed life does not show."""


def audited(stage: Stage, since: int) -> list[dict[str, object]]:
    """What the operator's account asked of the API server from a byte of the audit log on."""
    with stage.cluster.audit_log.open("rb") as log:
        log.seek(since)
        events = [json.loads(line) for line in log.read().splitlines()]
    return [e for e in events if e["user"]["username"].endswith(":pinfleet-operator") and "objectRef" in e]


def right_of(event: dict[str, object]) -> Right:
    """The right that a request needs."""
    target = event["objectRef"]
    assert isinstance(target, dict)
    resource = target["resource"] + (f"/{target['subresource']}" if target.get("subresource") else "")
    return resource, str(event["verb"])


def granted() -> set[Right]:
    """Every right of the chart's roles for the operator."""
    roles = [m for m in operator_manifests() if m["kind"] in {"Role", "ClusterRole"}]
    mine = [role for role in roles if role["metadata"]["name"].startswith("pinfleet-operator")]
    rules = [rule for role in mine for rule in role["rules"]]
    return {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


@pytest.mark.case("INV-9", "draining: a fleet is deleted while its pods live")
def test_the_role_is_what_a_life_needs(stage: Stage, fleet: Fleet, operator: OperatorProcess) -> None:
    """Deploy, run, decide, switch, let a run expire, delete the fleet: all is allowed, and every right is used."""
    since = stage.cluster.audit_log.stat().st_size
    fleet.deploy("v1", replicas=2, runTTLSeconds=1, versionHistoryLimit=0)
    fleet.wait_active("v1")
    fleet.start("run", steps=500)
    fleet.decide("run", "0" * 64)  # on nothing that it asks for: refused at its end, and gone with it
    stage.kubectl("patch", "agentrun", "run", "-n", fleet.namespace, "--type=merge", "-p", '{"spec":{"cancel":true}}')
    stage.wait_for("the run to end and expire", lambda: not stage.exists("agentrun", "run", fleet.namespace), 40)
    stage.wait_for("its decision to go", lambda: not stage.list("agentapprovals", fleet.namespace), 20)
    fleet.deploy("v2", runTTLSeconds=1, versionHistoryLimit=0)
    fleet.wait_active("v2")
    stage.wait_for("v1's record to go", lambda: not stage.exists("agentversion", "steps.v1", fleet.namespace), 40)
    stage.kubectl("delete", "agentdeployment", fleet.name, "-n", fleet.namespace, "--timeout=40s")
    operator.stop()
    with stage.operator("after"):
        stage.wait_for("the next leader's watches", lambda: len(audited(stage, since)) > 20)
    ever = audited(stage, 0)  # the Lease is made once, by whichever test comes first
    refused = [e for e in audited(stage, since) if e["annotations"]["authorization.k8s.io/decision"] != "allow"]  # type: ignore[index]
    used = {right_of(event) for event in ever}

    assert refused == []
    assert granted() - used <= SELDOM
    assert used - granted() == set()
