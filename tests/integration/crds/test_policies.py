"""Who may decide, and who may say that they ask: the chart's policies on a real API server."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from hack.render_chart import render
from tests.integration.crds.server import Answer, Api, Json, Kubectl, apply, eventually, kubectl_input

from localcluster import Cluster
from pinfleet_operator.api import keys

pytestmark = pytest.mark.cluster

HASH = "ab" * 32
SYSTEM, TEAM, OTHER = "policies-system", "policies-a", "policies-b"
OPERATOR = f"system:serviceaccount:{SYSTEM}:pinfleet-operator"
KINDS = {"ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}


@pytest.fixture(scope="module")
def team(cluster: Cluster, kubectl: Kubectl) -> Iterator[Api]:
    """The chart's roles and policies, and people who have roles in a namespace."""
    stage = _stage()
    apply(cluster, stage)
    api = Api(cluster.kubeconfig, keys.GROUP, TEAM)
    lie = {**decision("somebody")}
    eventually(lambda: "must be" in api.create("AgentApproval", "trial", lie, dryRun="All").message)
    yield api
    kubectl_input(cluster, ["delete", "--wait=false", "-f", "-"], yaml.safe_dump_all(stage))


def _stage() -> list[Json]:
    roles = [item for item in render(namespace=SYSTEM) if item["kind"] in KINDS]
    spaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in (SYSTEM, TEAM, OTHER)]
    bridge = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "bridge"},
        "rules": [
            {"apiGroups": ["pinfleet.dev"], "resources": ["agentapprovals"], "verbs": ["create"]},
            {"apiGroups": ["pinfleet.dev"], "resources": ["agentruns"], "verbs": ["approve-on-behalf"]},
        ],
    }
    bound = [
        _bind("pinfleet-editor", "author", TEAM),
        _bind("pinfleet-approver", "approver", TEAM),
        _bind("pinfleet-editor", "both", TEAM),
        _bind("pinfleet-approver", "both", TEAM),
        _bind("pinfleet-approver", "stranger", OTHER),
        _bind("bridge", "bot", TEAM),
    ]
    narrow = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "approves-r2"},
        "rules": [
            {"apiGroups": ["pinfleet.dev"], "resources": ["agentapprovals"], "verbs": ["create"]},
            {"apiGroups": ["pinfleet.dev"], "resources": ["agentruns"], "verbs": ["approve"], "resourceNames": ["r2"]},
        ],
    }
    return [*spaces, bridge, narrow, *roles, *bound, _bind("approves-r2", "narrow", TEAM)]


def _bind(role: str, user: str, namespace: str) -> Json:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"{role}-{user}", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }


def decision(approver: str, **spec: Any) -> Json:
    """A decision on run r1."""
    return {
        "run": {"name": "r1", "uid": "u-1"},
        "requestHash": HASH,
        "decision": "approved",
        "approver": approver,
    } | spec


# The matrix


@dataclass(frozen=True)
class Actor:
    """Somebody who tries."""

    user: str
    approver: str  # whom a decision of theirs names


ACTORS = {
    "author": Actor("author", "author"),
    "approver": Actor("approver", "approver"),
    "both": Actor("both", "both"),
    "operator": Actor(OPERATOR, OPERATOR),
    "other namespace's approver": Actor("stranger", "stranger"),
    "impersonation": Actor("approver", "both"),  # speaks for somebody else who may approve
    "administrator": Actor("", "admin"),  # may do everything, and does not get past the rules
}
MAY = {
    "create": {"approver", "both", "administrator"},
    "patch": set[str](),
    "status": {"operator", "administrator"},
    "update": set[str](),
    "delete": {"operator", "administrator"},
}


def _attempt(team: Api, verb: str, actor: Actor, name: str) -> Answer:
    theirs = team.as_user(actor.user)
    if verb == "create":
        return theirs.create("AgentApproval", name, decision(actor.approver))
    made = team.as_user("approver").create("AgentApproval", name, decision("approver"))
    assert made.code == 201, made.message
    match verb:
        case "delete":
            return theirs.delete("AgentApproval", name)
        case "update":
            changed = {**made.body, "spec": decision("approver", decision="denied")}
            return theirs.put("AgentApproval", name, changed)
        case "status":
            return theirs.merge("AgentApproval", name, {"status": {"phase": "Accepted"}}, "status")
    return theirs.merge("AgentApproval", name, {"spec": {"decision": "denied"}})


@pytest.mark.parametrize("verb", MAY)
@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.case("INV-14")
def test_who_may_do_what(team: Api, name: str, actor: str, verb: str) -> None:
    """Who has the verb approve makes decisions of their own; nobody changes one; the operator judges and removes it."""
    answer = _attempt(team, verb, ACTORS[actor], name)
    assert (answer.code < 300) is (actor in MAY[verb]), answer.message  # noqa: PLR2004 - OK, Created


def test_a_decision_is_judged_once(team: Api, name: str) -> None:
    """What was accepted is not refused later, nor the other way round, nor is the judgement taken off."""
    assert team.as_user("approver").create("AgentApproval", name, decision("approver")).code == 201
    assert team.merge("AgentApproval", name, {"status": {"phase": "Refused"}}, "status").code == 200
    for status in ({"phase": "Accepted"}, {"phase": None}, None):
        answer = team.merge("AgentApproval", name, {"status": status}, "status")
        assert answer.code == 422
        assert "a decision is accepted or refused once" in answer.message


# Bridges


def _refusal(team: Api, user: str, name: str, spec: Json) -> str:
    return team.as_user(user).create("AgentApproval", name, spec).message


@pytest.mark.case("INV-14")
def test_a_bridge_speaks_for_somebody_and_is_named(team: Api, name: str) -> None:
    """With approve-on-behalf a bridge names the approver and itself; it is neither hidden nor somebody else."""
    assert _refusal(team, "bot", name, decision("ann", via="bot")) == ""
    assert "spec.approver must be bot" in _refusal(team, "bot", "hidden", decision("ann"))
    assert "spec.via must be bot" in _refusal(team, "bot", "lent", decision("ann", via="other-bot"))
    assert "may not approve agentruns" in _refusal(team, "bot", "own", decision("bot"))
    assert "may not approve-on-behalf" in _refusal(team, "approver", "posing", decision("ann", via="approver"))


def test_a_decision_is_on_a_run_that_its_author_may_approve(team: Api, name: str) -> None:
    """Rights on single runs hold: by resourceNames one run may be approved and the next may not."""
    r2 = {"name": "r2", "uid": "u-2"}
    assert "may not approve agentruns.pinfleet.dev r1" in _refusal(team, "narrow", "n1", decision("narrow"))
    assert _refusal(team, "narrow", name, decision("narrow", run=r2)) == ""


# Requesters


@pytest.mark.parametrize(
    ("user", "requester", "is_taken"),
    [("author", "author", True), ("author", None, True), ("author", "approver", False), ("", "author", False)],
)
@pytest.mark.case("INV-14")
def test_a_requester_is_who_creates_the_run(
    team: Api, name: str, user: str, requester: str | None, *, is_taken: bool
) -> None:
    """A run names its creator as its requester, or nobody: also where an administrator creates it."""
    task: Json = {"agentDeployment": "demo", "input": 1} | ({"requester": requester} if requester else {})
    answer = team.as_user(user).create("AgentRun", name, {"task": task})
    assert (answer.code == 201) is is_taken, answer.message  # noqa: PLR2004 - Created
    assert is_taken or "spec.task.requester must be" in answer.message


# Controls


@pytest.mark.parametrize("policy", ["pinfleet-approver", "pinfleet-requester"])
def test_without_its_policy_everybody_is_believed(team: Api, cluster: Cluster, kubectl: Kubectl, policy: str) -> None:
    """Control: with the binding taken away the lie that it refused is taken."""
    task = {"agentDeployment": "demo", "requester": "ann"}
    kind, spec = {
        "pinfleet-approver": ("AgentApproval", decision("ann")),
        "pinfleet-requester": ("AgentRun", {"task": task}),
    }[policy]
    bindings = [item for item in _stage() if item["kind"] == "ValidatingAdmissionPolicyBinding"]

    def is_taken() -> bool:
        return team.create(kind, "lie", spec, dryRun="All").code == 201  # noqa: PLR2004 - Created

    assert not is_taken()
    kubectl("delete", "validatingadmissionpolicybinding", policy)
    eventually(is_taken)
    apply(cluster, bindings)
    eventually(lambda: not is_taken())
