"""Histories that nobody thought of, on the toy cluster with its checkers."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.operator.plan.toy import Toy

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("edit"), st.integers(1, 3)),
        st.tuples(st.just("run"), st.just(0)),
        st.tuples(st.sampled_from(["end", "park", "kill"]), st.integers(0, 5)),
        st.tuples(st.just("time"), st.sampled_from([1, 30, 61, 400])),
        st.tuples(st.sampled_from(["pass", "kubelet", "settle", "replicas", "limit"]), st.integers(0, 3)),
    ),
    max_size=30,
)


def happen(toy: Toy, event: tuple[str, int]) -> None:
    """One thing happens to the fleet."""
    kind, number = event
    given: dict[str, int] = {"runsPerPod": 2}
    moves = {
        "edit": lambda: toy.edit(f"v{number}", **given),
        "replicas": lambda: toy.edit(toy.spec.version, **given, replicas=number, maxReplicas=max(1, number)),
        "limit": lambda: toy.edit(toy.spec.version, **given, versionHistoryLimit=number),
        "run": toy.new_run,
        "end": lambda: toy.end_run(number),
        "park": lambda: toy.park_run(number),
        "kill": lambda: toy.kill(number),
        "time": lambda: toy.pass_time(number),
        "pass": toy.once,
        "kubelet": toy.kubelet,
        "settle": toy.settle,
    }
    moves[kind]()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EVENTS)
@pytest.mark.case("INV-5", "INV-6", "INV-8", "INV-10")
def test_whatever_happens_the_invariants_hold(events: list[tuple[str, int]]) -> None:
    """INV-5, 6, 8, 10: no sequence of edits, runs, deaths and waiting breaks one; in the end nothing is left to do."""
    toy = Toy()
    for event in events:
        happen(toy, event)
    toy.pass_time(400)
    toy.settle()
    toy.delete()
    while any(run.is_open and run.version for run in toy.runs):
        toy.end_run(0)
    toy.settle()
    assert (toy.records, toy.pods) == ({}, {})


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EVENTS)
@pytest.mark.case("INV-12")
def test_history_does_not_matter(events: list[tuple[str, int]]) -> None:
    """INV-12: wherever a fleet came from, the same spec ends with the same versions active and the same pods."""
    toy = Toy()
    for event in events:
        happen(toy, event)
    while any(run.is_open for run in toy.runs):
        for run in toy.runs:
            run.version = run.version or "v1"
        toy.end_run(0)
    toy.edit("v2", runsPerPod=2)
    toy.settle()
    toy.pass_time(400)
    toy.settle()
    straight = Toy()
    straight.edit("v2", runsPerPod=2)
    straight.settle()
    assert toy.outline() == straight.outline()
