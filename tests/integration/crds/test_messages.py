"""What a user may say to a run, on a real server."""

import json

import pytest
from tests.integration.crds.server import Api, Json, Kubectl, kubectl_input

from localcluster import Cluster
from pinfleet_operator.api import keys

pytestmark = pytest.mark.cluster

TASK: Json = {"agentDeployment": "demo", "input": 1}


def message(name: str, body: object = 1) -> Json:
    """One message."""
    return {"id": name, "body": body}


CHANGES: dict[str, Json] = {
    "another body": {"messages": [message("a", {"cents": 2}), message("b")]},
    "a member of a body added": {"messages": [message("a", {"cents": 1, "more": 1}), message("b")]},
    "another id": {"messages": [message("c", {"cents": 1}), message("b")]},
    "another order": {"messages": [message("b"), message("a", {"cents": 1})]},
    "one before the first": {"messages": [message("z"), message("a", {"cents": 1}), message("b")]},
    "the last removed": {"messages": [message("a", {"cents": 1})]},
    "all removed": {"messages": []},
    "the list removed": {"messages": None},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_was_said_stays(api: Api, control: Api, name: str, change: Json) -> None:
    """Messages can only be added at the end: none is changed, moved or removed, nor the whole list."""
    said = [message("a", {"cents": 1}), message("b")]
    for group in (api, control):
        assert group.create("AgentRun", name, {"task": TASK, "messages": said}).code == 201
    answer = api.merge("AgentRun", name, {"spec": change})
    assert answer.code == 422
    assert "messages can only be added, at the end" in answer.message
    assert control.merge("AgentRun", name, {"spec": change}).code == 200


def test_messages_are_added(api: Api, name: str) -> None:
    """A message is added to none and to others, with any JSON, and later ones follow in their order."""
    assert api.create("AgentRun", name, {"task": TASK}).code == 201
    bodies: list[object] = [{"cents": 1, "note": None}, [1, [2]], "text", 0, False]
    for n in range(len(bodies)):
        said = [message(f"m{i}", body) for i, body in enumerate(bodies[: n + 1])]
        assert api.merge("AgentRun", name, {"spec": {"messages": said}}).code == 200
    last = {"op": "add", "path": "/spec/messages/-", "value": message("last")}
    assert api.json_patch("AgentRun", name, [last]).code == 200
    found = api.get("AgentRun", name).body["spec"]["messages"]
    assert [each["id"] for each in found] == ["m0", "m1", "m2", "m3", "m4", "last"]


def test_senders_need_not_know_each_other(api: Api, cluster: Cluster, kubectl: Kubectl, name: str) -> None:
    """Each sender applies its own message, under a name of its own, as often as it likes; it is there once."""
    assert api.create("AgentRun", name, {"task": TASK}).code == 201

    def send(sender: str, body: object) -> str:
        spec = {"messages": [message(sender, body)]}
        run = {"apiVersion": keys.API_VERSION, "kind": "AgentRun", "metadata": {"name": name}, "spec": spec}
        arguments = ["apply", "--server-side", f"--field-manager={sender}", "--validate=false", "-f", "-"]
        return kubectl_input(cluster, arguments, json.dumps(run), check=False)

    for sender in ("ann", "bot", "ann"):
        assert "serverside-applied" in send(sender, {"from": sender})
    assert "messages can only be added, at the end" in send("ann", {"from": "somebody else"})
    found = api.get("AgentRun", name).body["spec"]["messages"]
    assert found == [message("ann", {"from": "ann"}), message("bot", {"from": "bot"})]


WRONG: dict[str, tuple[list[Json], str]] = {
    "the same id twice": ([message("a"), message("a", 2)], "Duplicate value"),
    "no id": ([{"body": 1}], "id"),
    "no body": ([{"id": "a"}], "body"),
    "a body of null": ([message("a", None)], "body"),
    "an empty id": ([message("")], "id"),
    "an id of 64 characters": ([message("a" * 64)], "id"),
    "257 messages": ([message(f"m{n}") for n in range(257)], "256"),
}


@pytest.mark.parametrize(("said", "field"), WRONG.values(), ids=WRONG)
def test_a_wrong_message_is_refused(api: Api, name: str, said: list[Json], field: str) -> None:
    """What cannot be meant is refused at once, and the answer names it."""
    answer = api.create("AgentRun", name, {"task": TASK, "messages": said})
    assert answer.code == 422
    assert field in answer.message


def test_as_many_as_there_may_be(api: Api, name: str) -> None:
    """The last of 256 messages is added: the rule stays within what the API server lets a rule cost."""
    said = [message(f"m{n}", {"text": "x" * 1000, "list": [n] * 100}) for n in range(256)]
    assert api.create("AgentRun", name, {"task": TASK, "messages": said[:-1]}).code == 201
    assert api.merge("AgentRun", name, {"spec": {"messages": said}}).code == 200
