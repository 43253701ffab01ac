"""What the planner writes into a fleet's status, and when."""

from dataclasses import replace
from datetime import timedelta

import pytest

from pinfleet_operator.api.settings import Settings
from pinfleet_operator.plan import actions as do
from pinfleet_operator.plan.decide import plan
from pinfleet_operator.plan.world import PodView, Reach, Refusal, World
from tests.unit.operator.plan.situations import (
    CORDONED,
    DEAD,
    EMPTY,
    FULL,
    HALF,
    SILENT,
    active,
    acts,
    acts_of,
    conditions_of,
    draining,
    recorded,
)
from tests.unit.operator.plan.worlds import (
    NOW,
    a_fleet,
    a_pod,
    a_record,
    a_spec,
    a_status,
    a_version,
    a_world,
    ago,
    open_runs,
)


def test_a_served_fleet_is_ready_and_drained() -> None:
    """Ready and Drained are always there; Reconciling, Stalled and Paused only while they hold."""
    assert conditions_of(active(FULL, runs=open_runs(10))) == {
        "Accepted": ("True", "SpecAccepted", "the spec describes version v1"),
        "Drained": ("True", "AllDrained", "no old version has open runs"),
        "Ready": ("True", "Active", "v1 active"),
    }


def test_a_draining_version_leaves_the_fleet_ready() -> None:
    """GitOps: a promoted fleet is healthy while old runs end, and says how many there are."""
    found = conditions_of(draining(FULL, counts=open_runs(10)))
    assert set(found) == {"Accepted", "Drained", "Ready"}
    assert found["Ready"] == ("True", "Active", "v2 active; 1 version draining (10 runs)")
    assert found["Drained"] == ("False", "Draining", "v1: 10 runs, oldest run-a since 2026-03-01T11:50:00Z")


def test_a_template_that_was_refused_is_asked_for_again() -> None:
    """What refused it may have been a webhook's bad moment; a spec that is wrong by itself waits for another one."""
    made = plan(recorded(a_world(fleet=a_fleet(), template_error="refused")))
    assert made.requeue_after == Settings().rejected_seconds
    reserved = {"metadata": {"labels": {"pinfleet.dev/fleet": "x"}}, "spec": {"containers": [{"name": "a"}]}}
    assert plan(recorded(a_world(fleet=a_fleet(a_spec(template=reserved))))).requeue_after is None


STALLED = [
    ("a name used twice", a_world(a_version(), fleet=a_fleet(a_spec("v1", port=9000))), "VersionNameReused", "v2"),
    ("the server refuses the pod", a_world(fleet=a_fleet(), template_error="spec.x: bad"), "InvalidTemplate", "spec.x"),
    ("a reserved label", a_world(fleet=a_fleet(a_spec(template={
        "metadata": {"labels": {"pinfleet.dev/fleet": "x"}}, "spec": {"containers": [{"name": "a"}]}}))),
     "InvalidTemplate", "reserved"),
    ("a spec from a later schema", a_world(fleet=a_fleet(spec=None, spec_error="port: too large")), "InvalidSpec",
     "port: too large"),
    ("the claim is missing", a_world(
        a_version(record=a_record(claim_name="journals")), is_claim_missing=True), "ClaimNotFound", "journals"),
    ("quota", a_world(a_version(refusal=Refusal("exceeded quota: pods=5", 3, NOW))), "PodsRefused", "quota"),
    ("the image cannot be pulled", a_world(a_version(pods=(
        a_pod(0, ready=False, phase="Pending", waiting_reason="ImagePullBackOff", waiting_message="no v9"),))),
     "PodsFailing", "ImagePullBackOff: no v9"),
    ("pods die one after the other", a_world(a_version(pods=(DEAD, a_pod(
        1, ready=False, phase="Failed", exit_code=3, created_at=ago(2), termination_message="no key")))),
     "PodsFailing", "exit code 3: no key"),
    ("a pod never gets ready", a_world(a_version(pods=(a_pod(0, ready=False),))), "PodsFailing", "not Ready"),
    ("a pod is not scheduled", a_world(a_version(pods=(a_pod(0, ready=False, phase="Pending", scheduled=False),))),
     "PodsFailing", "not scheduled"),
    ("something else listens", a_world(a_version(pods=(a_pod(0, answers=False),))), "PodsFailing", "run protocol"),
    ("too many are unreachable", active(SILENT, runs=open_runs(3), reach=Reach(5, 3)), "PodsUnreachable", "3 of all 8"),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "world", "reason", "words"), STALLED)
def test_what_needs_a_person_is_said(sentence: str, world: World, reason: str, words: str) -> None:
    """Stalled has the reason and says what to do; Reconciling is absent, or kstatus would call it in progress."""
    fleet = world.fleet
    if fleet is not None and sentence == "a spec from a later schema":
        world = replace(world, fleet=replace(fleet, spec=None))
    found = conditions_of(world)
    assert (found["Stalled"][:2], words in found["Stalled"][2]) == (("True", reason), True), found["Stalled"]
    assert "Reconciling" not in found


def test_a_refused_spec_leaves_the_active_version_alone() -> None:
    """A user's mistake is a condition: the fleet goes on as it was."""
    fleet = a_fleet(a_spec("v1", port=9000), status=a_status("v1", v1="Active"))
    assert acts(active(FULL, runs=open_runs(10), fleet=fleet)) == ((), None)


def test_the_spec_is_accepted_again_when_the_name_changes() -> None:
    """Accepted=False says a free name, and writing it mends the fleet."""
    fleet = a_fleet(a_spec("v2", port=9000), status=a_status("v1", v1="Active"))
    assert conditions_of(active(FULL, runs=open_runs(10), fleet=fleet))["Accepted"][0] == "True"


def test_taking_the_name_out_of_a_spec_is_no_rollout() -> None:
    """The hash does not hold the name: the active version is still what the spec describes."""
    nameless = a_spec("v1").model_copy(update={"version": None})
    assert acts(active(EMPTY, fleet=a_fleet(nameless, status=a_status("v1", v1="Active")))) == ((), None)


def test_counts_alone_are_written_every_two_seconds() -> None:
    """INV-15: a busy fleet does not write its status at every run, and its versions' own have no counts at all."""
    world = recorded(active(FULL, runs=open_runs(10)))
    more = replace(world, status_written_at=ago(0.5), versions=(replace(world.versions[0], counts=open_runs(9)),))
    assert acts_of(plan(more)) == ((), 1.5)
    later = replace(more, status_written_at=ago(2))
    assert [type(each).__name__ for each in acts_of(plan(later))[0]] == ["WriteStatus"]


ENDINGS: list[tuple[tuple[PodView, ...], bool, list[str]]] = [  # pods, whether zero is certain, what is written
    ((EMPTY,), False, []),
    ((EMPTY,), True, []),
    ((CORDONED,), True, ["WriteStatus"]),
    ((), True, ["WriteStatus"]),
]


@pytest.mark.parametrize(("pods", "is_certain", "written"), ENDINGS)
def test_a_drained_version_is_written_at_once(
    pods: tuple[PodView, ...], *, is_certain: bool, written: list[str]
) -> None:
    """INV-15: reaching zero is news, however short ago the last write was; its pods' removal does not wait for it."""
    world = recorded(draining(HALF, counts=open_runs(1)))
    old = replace(world.versions[0], counts=open_runs(), pods=pods, is_confirmed_empty=is_certain)
    emptied = replace(world, status_written_at=NOW, versions=(old, world.versions[1]))
    assert [type(each).__name__ for each in plan(emptied).actions if isinstance(each, do.WriteStatus)] == written


def test_a_later_moment_alone_is_not_written() -> None:
    """INV-8: resourceVersions move all the time; a quiet fleet's status does not."""
    world = recorded(active(FULL, runs=open_runs(10)))
    assert acts_of(plan(replace(world, counted_at="999999", now=NOW + timedelta(hours=3)))) == ((), None)


def test_nothing_is_said_of_pods_that_were_not_asked_yet() -> None:
    """INV-12: a new leader, which has heard no pod, does not say that none is ready, to say otherwise at once."""
    world = recorded(active(FULL, runs=open_runs(10)))
    unheard = replace(FULL, has_answered=False, answers=False)
    fresh = replace(world, versions=(replace(world.versions[0], pods=(unheard,)),))
    assert acts_of(plan(fresh)) == ((), None)
    silent = replace(unheard, failing_since=ago(1))
    found = acts_of(plan(replace(world, versions=(replace(world.versions[0], pods=(silent,)),))))
    assert any(isinstance(each, do.WriteStatus) for each in found[0])
