"""What the API server lets be written into a run's status, on a real server, both ways and by remove-then-set."""

from dataclasses import dataclass, field

import pytest
from tests.integration.crds.server import Api, Json

pytestmark = pytest.mark.cluster

SPEC: Json = {"task": {"agentDeployment": "demo", "input": {"order": 7}}}
LIMITS: Json = {"maxSteps": 10, "activeSeconds": 60, "deadlineSeconds": 600, "maxAttempts": 3}
RUNNING: Json = {
    "phase": "Running",
    "version": "v1",
    "pod": "p-1",
    "podUID": "uid-1",
    "boot": "b-1",
    "epoch": 1,
    "limits": LIMITS,
    "reason": "Assigned",
}
LOST: Json = {"phase": "Pending", "pod": None, "boot": None}
PARKED: Json = {"phase": "Parked", "pod": None, "podUID": None, "boot": None}
DONE: Json = {"phase": "Succeeded", "result": {"answer": 42}, "reason": "Completed"}
FINAL = "the status of a run that has ended is final"
RAISE = "an assignment to a pod raises the run's epoch"


@dataclass(frozen=True)
class Case:
    """One write: after `before`, `patch` is allowed, or refused with `message`."""

    sentence: str
    patch: Json
    message: str = ""  # "": allowed
    before: tuple[Json, ...] = field(default=(RUNNING,))


ALLOWED = (
    Case("a fresh run is pinned and assigned in one write", RUNNING, before=()),
    Case(
        "an explicit version is pinned before any pod", {"phase": "Pending", "version": "v1", "limits": LIMITS}, "", ()
    ),
    Case("progress is written at the same epoch", {"steps": 5, "waitingFor": [{"id": "t", "kind": "Timer"}]}),
    Case("the same pin is written again", {"version": "v1", "limits": LIMITS}),
    Case("a lost run goes to another pod at a higher epoch", {"podUID": "uid-2", "boot": "b-2", "epoch": 2}),
    Case("an epoch may skip numbers after a restored backup", {"podUID": "uid-2", "boot": "b-2", "epoch": 9}),
    Case("a run that lost its pod waits", LOST),
    Case("a run that waited is assigned anew", {**RUNNING, "epoch": 2}, before=(RUNNING, LOST)),
    Case("a run parks", PARKED),
    Case("a parked run wakes at a higher epoch", {**RUNNING, "epoch": 2}, before=(RUNNING, PARKED)),
    Case("a run ends with its result", DONE),
    Case("nothing is changed after the end", {"phase": "Succeeded", "reason": "Completed"}, before=(RUNNING, DONE)),
)

REFUSED = (
    Case("a pin is not changed", {"version": "v2"}, "a run stays on the version that it was pinned to"),
    Case("a pin is not removed", {"version": None}, "a run stays on the version that it was pinned to"),
    Case("limits are not raised", {"limits": {"maxSteps": 11}}, "a run's limits are fixed when it is pinned"),
    Case("limits are not removed", {"limits": None}, "a run's limits are fixed when it is pinned"),
    Case("an epoch does not fall", {"epoch": 0}, "a run's epoch never falls"),
    Case("an epoch is not removed", {"epoch": None}, "a run's epoch never falls"),
    Case("a fresh run is not assigned without an epoch", {"phase": "Running", "version": "v1"}, RAISE, ()),
    Case("another pod needs a higher epoch", {"podUID": "uid-2"}, RAISE),
    Case("another start of the pod needs a higher epoch", {"boot": "b-2"}, RAISE),
    Case("a running run's pod is not removed to set another", {"podUID": None}, RAISE),
    Case("a running run's boot is not removed to set another", {"boot": None}, RAISE),
    Case("a wake needs a higher epoch", RUNNING, RAISE, (RUNNING, PARKED)),
    Case("a redelivery needs a higher epoch", RUNNING, RAISE, (RUNNING, LOST)),
    Case("a result is not changed after the end", {"result": {"answer": 43}}, FINAL, (RUNNING, DONE)),
    Case("a result is not removed after the end", {"result": None}, FINAL, (RUNNING, DONE)),
    Case("a reason is not changed after the end", {"reason": "Other"}, FINAL, (RUNNING, DONE)),
    Case("steps do not move after the end", {"steps": 99}, FINAL, (RUNNING, DONE)),
    Case("a result is not set late", {"result": 1}, FINAL, (RUNNING, {"phase": "Failed", "reason": "AgentError"})),
    Case("an end is not removed", {"phase": None}, FINAL, (RUNNING, DONE)),
    Case("a fresh run does not park", {"phase": "Parked"}, "a run that is Pending cannot become Parked", ()),
)

REMOVED = (
    Case("the whole status of a pinned run", {}, "a run stays on the version that it was pinned to", (RUNNING,)),
    Case("the whole status of an assigned run", {}, "a run's epoch never falls", ({"phase": "Running", "epoch": 1},)),
    Case("the whole status of a run with limits", {}, "a run's limits are fixed", ({"limits": LIMITS},)),
    Case("the whole status of an ended run", {}, FINAL, ({"phase": "Failed", "reason": "InputTooLarge"},)),
    Case(
        "the whole status of a parked run",
        {},
        "a run that is Parked cannot become Pending",
        ({"phase": "Running", "epoch": 1}, {"phase": "Parked"}),
    ),
)


def _prepare(api: Api, name: str, before: tuple[Json, ...]) -> None:
    assert api.create("AgentRun", name, SPEC).code == 201
    for status in before:
        answer = api.merge("AgentRun", name, {"status": status}, "status")
        assert (answer.code, answer.message) == (200, "")


@pytest.mark.parametrize("case", ALLOWED, ids=lambda case: case.sentence)
def test_it_allows(api: Api, name: str, case: Case) -> None:
    """A write that the run's life needs is stored."""
    _prepare(api, name, case.before)
    answer = api.merge("AgentRun", name, {"status": case.patch}, "status")
    assert (answer.code, answer.message) == (200, "")


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.sentence)
def test_it_refuses(api: Api, control: Api, name: str, case: Case) -> None:
    """A write that would break a promise is refused with the rule's own words, and stored without the rule."""
    _prepare(api, name, case.before)
    before = api.get("AgentRun", name).body["status"]
    answer = api.merge("AgentRun", name, {"status": case.patch}, "status")
    assert answer.code == 422
    assert case.message in answer.message
    assert before == api.get("AgentRun", name).body["status"]
    _prepare(control, name, case.before)
    assert control.merge("AgentRun", name, {"status": case.patch}, "status").code == 200


@pytest.mark.parametrize("case", REMOVED, ids=lambda case: case.sentence)
def test_the_whole_status_is_not_removed(api: Api, control: Api, name: str, case: Case) -> None:
    """Removing the status to set it anew is refused, by PUT and by patch, and possible without the rules."""
    _prepare(api, name, case.before)
    found = api.get("AgentRun", name).body
    del found["status"]
    for answer in (api.put("AgentRun", name, found, "status"), api.merge("AgentRun", name, {"status": None}, "status")):
        assert answer.code == 422
        assert case.message in answer.message
    _prepare(control, name, case.before)
    assert control.merge("AgentRun", name, {"status": None}, "status").code == 200
    assert control.get("AgentRun", name).body["status"] == {"phase": "Pending"}


def test_the_main_resource_does_not_write_status(api: Api, name: str) -> None:
    """Whoever may write a run's spec cannot end it or pin it by way of the object itself."""
    _prepare(api, name, (RUNNING,))
    answer = api.merge("AgentRun", name, {"status": {"phase": "Succeeded", "version": "v9"}})
    assert answer.code == 200
    assert (answer.body["status"]["phase"], answer.body["status"]["version"]) == ("Running", "v1")
