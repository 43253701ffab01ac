"""Plans are generated from what the undisturbed scenario did, and ends that differ from its own are told."""

from dataclasses import replace

import pytest

from tests.faults import calls
from tests.faults.all_plans import drawn
from tests.faults.calls import Call
from tests.faults.harm import HARM
from tests.faults.plans import KILLS, OF_WRITES, Plan, common, generate, numbered
from tests.faults.reference import Reference

REFERENCE = Reference.read()
PLANS = generate(REFERENCE.calls)


def test_there_are_over_150_plans_each_with_a_name_of_its_own() -> None:
    """`make faults PLAN=NAME` plays one."""
    assert len(PLANS) >= 150
    assert len({plan.name for plan in PLANS}) == len(PLANS)


def test_every_shape_of_write_meets_every_fault() -> None:
    """A fault of a watch only where the operator watches what is written."""
    met = {(plan.call.shape, plan.fault) for plan in PLANS}
    for call in REFERENCE.calls:
        if not call.is_write:
            continue
        for fault in set(OF_WRITES) - {"gone", "frozen"}:
            assert (call.shape, fault) in met
        is_watched = call.resource.partition("/")[0] not in {"secrets", "leases"}
        assert ((call.shape, "gone") in met, (call.shape, "frozen") in met) == (is_watched, is_watched)


def test_the_operator_dies_around_every_single_write() -> None:
    """Before it, during it and after it; at every call to a pod of another shape, too."""
    met = {(plan.fault, plan.call, plan.ordinal) for plan in PLANS}
    writes = [each for each in numbered(REFERENCE.calls) if each[0].is_write]
    assert met >= {(kill, *each) for kill in KILLS for each in writes}
    shapes = {call.shape for call in REFERENCE.calls if call.is_pod_write}
    assert {(plan.fault, plan.call.shape) for plan in PLANS} >= {(kill, each) for kill in KILLS for each in shapes}


def test_every_plan_is_of_a_call_that_was_made_and_a_fault_that_there_is() -> None:
    """Else it would never be met."""
    made = set(numbered(REFERENCE.calls))
    for plan in PLANS:
        assert plan.fault in HARM
        assert (plan.call, plan.ordinal) in made or plan.call.verb == "state"


def test_what_moves_with_the_clock_is_not_planned_for() -> None:
    """A call that did not come in each undisturbed play, or not as often, might not come in a plan."""
    a, b = Call("patch", "pods", "a"), Call("patch", "pods", "b")
    assert common([[a, b, a], [b, a], [a, a, b]]) == [a, b]


def test_a_sample_is_drawn_by_its_seed() -> None:
    """The same one each time, each plan of another fault."""
    sample = drawn(PLANS, 6, "a")
    assert sample == drawn(PLANS, 6, "a") != drawn(PLANS, 6, "b")
    assert len({plan.fault for plan in sample}) == 6


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("active", "v2"),
        ("versions", (("v1", "Active"),)),
        ("versions", (("v1", "Active"), ("v2", "Draining"))),
        ("objects", (("steps.v1", "Active"), ("steps.v2", "Draining"))),
        ("pods", (("v1", 2),)),
        ("pods", (("v1", 1), ("v2", 1))),
        ("runs", ()),
        ("conditions", (("Accepted", "True", "SpecAccepted"), ("Drained", "False", "Draining"))),
    ],
)
def test_another_end_is_flagged(part: str, value: object) -> None:
    """Control: whichever part differs is named."""
    assert REFERENCE.alive.differences(REFERENCE.alive) == []
    found = REFERENCE.alive.differences(replace(REFERENCE.alive, **{part: value}))  # type: ignore[arg-type]
    assert [each.partition(":")[0] for each in found] == [part]


@pytest.mark.parametrize("place", range(7))
def test_another_end_of_a_run_is_flagged(place: int) -> None:
    """Control: name, phase, reason, version, steps, attempts and result of each run count."""
    first, *others = REFERENCE.alive.runs
    changed = (*first[:place], "other", *first[place + 1 :])
    assert REFERENCE.alive.differences(replace(REFERENCE.alive, runs=(changed, *others))) != []


def test_a_refused_end_is_expected_to_be_failed() -> None:
    """Rule 2, and nothing else, makes an end differ from the undisturbed one."""
    ended = Call("patch", "agentruns/status", "old", "Succeeded")
    told = REFERENCE.under(Plan("invalid", ended, 1)).alive
    assert [run[:3] for run in told.runs if run not in REFERENCE.alive.runs] == [("old", "Failed", "ResultRefused")]
    assert REFERENCE.under(Plan("conflict", ended, 1)) == REFERENCE
    assert REFERENCE.under(Plan("invalid", replace(ended, what="assign"), 1)) == REFERENCE


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "expected"),
    [
        ("GET", "/api/v1/namespaces/ns", {}, b"", Call("get", "namespaces", "ns")),
        ("GET", "/api/v1/pods", {"watch": "true"}, b"", Call("watch", "pods")),
        ("GET", "/apis/g.dev/v1/namespaces/ns/things/a", {}, b"", Call("get", "things", "a")),
        ("POST", "/api/v1/namespaces/ns/pods", {}, b'{"metadata":{"name":"p"}}', Call("create", "pods", "p")),
        (
            "POST",
            "/api/v1/namespaces/ns/pods",
            {"dryRun": "All"},
            b'{"metadata":{"name":"p"}}',
            Call("dry-run", "pods", "p"),
        ),
        (
            "PATCH",
            "/apis/pinfleet.dev/v1alpha1/namespaces/ns/agentruns/r/status",
            {},
            b'[{"op":"add","path":"/status/phase","value":"Succeeded"}]',
            Call("patch", "agentruns/status", "r", "Succeeded"),
        ),
        (
            "PATCH",
            "/apis/pinfleet.dev/v1alpha1/namespaces/ns/agentruns/r/status",
            {},
            b'{"status":{"phase":"Running","epoch":2,"timersFired":["t"]}}',
            Call("patch", "agentruns/status", "r", "wake"),
        ),
    ],
)
def test_a_request_is_called_what_it_is(
    method: str, path: str, query: dict[str, str], body: bytes, expected: Call
) -> None:
    """The same words in every run of the scenario: no namespace, no uid, no time."""
    assert calls.of_api(method, path, query, body) == expected


def test_a_pods_call_is_called_by_its_run() -> None:
    """A uid differs from run to run; its name does not."""
    names = {"u": "old"}
    found = [calls.of_pod(*each, names) for each in (("PUT", "/runs/u"), ("POST", "/runs/u/ack"), ("GET", "/state"))]
    assert found == [Call("offer", "runs", "old"), Call("ack", "runs", "old"), Call("state", "runs")]
