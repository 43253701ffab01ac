"""What one run needs, case by case: a sentence, a situation, the whole answer."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from pinfleet.wire import Failure, Outcome, Wait
from pinfleet_operator.api import keys
from pinfleet_operator.api.fleet import VersionTrouble
from pinfleet_operator.api.run import RequestedLimits, RunRecord
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.runs.judge import judge
from pinfleet_operator.runs.judge.situation import (
    Ack,
    Assign,
    ConfirmAbsent,
    DeleteRun,
    KillPod,
    Listed,
    Pin,
    Refused,
    Report,
    SendOffer,
    Situation,
    Tell,
    Told,
    Verdict,
    WriteEnd,
    WriteHeld,
    WriteParked,
    WritePending,
)
from tests.unit.operator.runs.conftest import FLEET, NOW, PENDING, POD, RUNNING, ago, hence, listing, mirror

Make = Callable[..., Situation]
change = msgspec.structs.replace
TIMER = Wait(id="w1", kind="Timer", name="sleep", until=hence(100), since=ago(10))
DUE = Wait(id="w2", kind="Timer", name="sleep", until=ago(1), since=ago(10))
PARKED = change(RUNNING, phase="Parked", pod=None, pod_uid=None, boot=None, waiting_for=(TIMER,), parked_at=ago(5))
LOST = change(RUNNING, phase="Pending", pod=None, boot=None, attempts=2, reason=keys.BACKING_OFF)
ENDED = change(RUNNING, phase="Succeeded", ended_at=ago(10))


def rules_off(*numbers: str) -> Settings:
    """Settings with rules taken out."""
    return Settings(rules_off=frozenset(numbers))


def told(seconds: float) -> tuple[Told, ...]:
    """Pod-a was told to end the run at epoch 1 some seconds ago, and answered."""
    return (Told("pod-a", 1, ago(seconds), is_delivered=True),)


def actions(s: Situation) -> tuple[Any, ...]:
    """What is to be done now."""
    return judge(s).actions


# New runs


def test_a_new_run_is_assigned_to_the_active_version(situation: Make) -> None:
    """A run without a version goes to the version that is active now."""
    assert actions(situation(PENDING)) == (Assign("v1", attempts=1),)


def test_an_explicit_version_is_pinned_before_a_pod_is_sought(situation: Make) -> None:
    """An explicit version is written when first observed, and counts as open from then on."""
    fleet = replace(FLEET, candidate_version="v2")

    assert actions(situation(change(PENDING, requested_version="v2"), fleet=fleet)) == (Pin("v2"),)


@pytest.mark.case("runs: an explicit version is unknown or retired")
def test_a_version_that_takes_no_runs_fails_the_run(situation: Make) -> None:
    """An explicit version that is neither active nor candidate fails the run and names those that are live."""
    (end,) = actions(situation(change(PENDING, requested_version="v0")))

    assert end == WriteEnd(
        "Failed", keys.VERSION_NOT_LIVE, "version v0 of fleet support takes no new runs; live now: v1"
    )


@pytest.mark.parametrize(("size", "fails"), [(32 * 1024, False), (32 * 1024 + 1, True), (1_000_000, True)])
@pytest.mark.case("runs: an input at, over and far over its limit")
def test_an_input_over_32_kib_fails_the_run(situation: Make, size: int, *, fails: bool) -> None:
    """32 KiB of input are served, one byte more is refused."""
    (first,) = actions(situation(change(PENDING, input_bytes=size)))

    assert (isinstance(first, WriteEnd) and first.reason == keys.INPUT_TOO_LARGE) is fails


@pytest.mark.case("runs: limits above the fleet's")
def test_a_run_may_only_lower_the_limits(situation: Make) -> None:
    """More steps than the fleet allows fail the run at once, fewer are stamped."""
    more = change(PENDING, requested_limits=RequestedLimits(max_steps=1001))
    fewer = change(PENDING, requested_limits=RequestedLimits(max_steps=10))
    (end,) = actions(situation(more))

    assert (end.phase, end.reason) == ("Failed", keys.LIMITS_EXCEED_FLEET)
    assert actions(situation(fewer)) == (Assign("v1", attempts=1),)


@pytest.mark.parametrize("run", [PENDING, change(PENDING, version="v1", requested_version="v1")])
def test_a_run_whose_versions_pods_need_a_person_says_so(situation: Make, run: RunRecord) -> None:
    """The fleet is Stalled: its reason and message stand on the waiting run too, in place of NoFreeSlot."""
    stalled = replace(FLEET, troubles=(VersionTrouble("v1", keys.PODS_FAILING, "pod a: no image"),))
    (said,) = actions(situation(run, fleet=stalled, can_place=False))
    assert isinstance(said, Report)
    assert (said.reason, "pod a: no image" in said.message) == (keys.PODS_FAILING, True)
    elsewhere = replace(FLEET, troubles=(VersionTrouble("v2", keys.PODS_FAILING, "pod b"),))
    (other,) = actions(situation(run, fleet=elsewhere, can_place=False))
    assert isinstance(other, Report)
    assert other.reason == keys.NO_FREE_SLOT


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        (keys.FLEET_NOT_FOUND, {"fleet": None}),
        (keys.FLEET_PAUSED, {"fleet": replace(FLEET, is_paused=True)}),
        (keys.NO_ACTIVE_VERSION, {"fleet": replace(FLEET, active_version=None)}),
        (keys.DELETING, {"fleet": replace(FLEET, is_deleting=True)}),
        (keys.NO_FREE_SLOT, {"can_place": False}),
    ],
)
@pytest.mark.case("runs: the fleet is unknown", "runs: the fleet is paused")
def test_a_run_that_waits_says_what_for_after_30_seconds(situation: Make, reason: str, changes: dict[str, Any]) -> None:
    """Nothing is written in the first 30 seconds; then the reason is, once."""
    young = situation(change(PENDING, created_at=ago(10)), **changes)
    old = situation(PENDING, **changes)
    told = situation(change(PENDING, reason=reason), **changes)
    (said,) = actions(old)

    assert judge(young) == Verdict((), again_at=hence(20), needs_slot=reason == keys.NO_FREE_SLOT)
    assert isinstance(said, Report)
    assert said.reason == reason
    assert "waits since 2026-05-01T11:59:00Z" in said.message
    assert actions(told) == ()


def test_no_run_is_pinned_while_a_promote_is_in_flight(situation: Make) -> None:
    """Rule 3: pinning is closed while the outcome of a promote is unknown."""
    assert judge(situation(PENDING, may_pin=False)).actions == ()


# Ends without a pod


@pytest.mark.parametrize("run", [PENDING, PARKED], ids=["pending", "parked"])
@pytest.mark.case("runs: a cancel meets a parked run")
def test_a_run_on_no_pod_is_cancelled_on_the_object(situation: Make, run: Any) -> None:
    """Nobody has to be asked where no pod holds the run."""
    (end,) = actions(situation(change(run, cancel=True)))

    assert end == WriteEnd("Cancelled", keys.CANCELLED, "cancelled by spec.cancel")


def test_a_deadline_passes_while_pending(situation: Make) -> None:
    """The deadline counts from creation, on a pod or not."""
    (end,) = actions(situation(change(PENDING, created_at=ago(2_592_001))))

    assert (end.phase, end.reason) == ("TimedOut", keys.DEADLINE)


def test_a_bound_to_come_is_looked_at_in_time(situation: Make) -> None:
    """The verdict names the deadline, so that nothing else need happen for it to be kept."""
    run = change(PARKED, waiting_for=(msgspec.structs.replace(TIMER, until=None),), deadline_at=hence(33))

    assert judge(situation(run)) == Verdict((), again_at=hence(33))


@pytest.mark.case("protocol: rule 13")
def test_a_run_that_parked_for_nothing_known_is_woken(situation: Make) -> None:
    """Rule 13: after a restored etcd its pod says that it parked once, and knows no more for what; its journal does."""
    assert judge(situation(change(PARKED, waiting_for=(), parked_at=ago(5)))) == Verdict((), again_at=hence(25))

    (action,) = actions(situation(change(PARKED, waiting_for=(), parked_at=ago(30))))
    assert isinstance(action, Assign)


# On a pod


def test_a_run_that_its_pod_does_not_list_is_offered_again(situation: Make) -> None:
    """Rule 1: same boot and absent means never accepted; the same epoch is offered, uncharged."""
    assert actions(situation(RUNNING)) == (SendOffer(),)
    assert judge(situation(RUNNING, next_offer_at=hence(4))) == Verdict((), again_at=hence(4))


def test_an_accepted_offer_is_not_repeated_before_the_pod_answers(situation: Make) -> None:
    """Absence counts only once the pod's answers have come past its 202."""
    early = mirror(n=5)
    early.accepted["run-uid"] = (1, 6)
    late = mirror(n=6)
    late.accepted["run-uid"] = (1, 6)

    assert actions(situation(RUNNING, mirror=early)) == ()
    assert actions(situation(RUNNING, mirror=late)) == (SendOffer(),)
    assert actions(situation(RUNNING, mirror=late, settings=rules_off("1"))) == ()


def test_a_run_that_its_pod_holds_needs_nothing(situation: Make) -> None:
    """The pod lists it at its epoch: done, until a bound comes."""
    assert judge(situation(RUNNING, listing())).actions == ()


@pytest.mark.parametrize(
    ("said", "end"),
    [
        (listing("succeeded", outcome=Outcome(result=msgspec.Raw(b"1"))), ("Succeeded", keys.COMPLETED)),
        (listing("failed", outcome=Outcome(error=Failure(type="E", message="m"))), ("Failed", keys.AGENT_ERROR)),
        (listing("cancelled"), ("Cancelled", keys.FLEET_DELETED)),
        (listing("limit", outcome=Outcome(limit="steps")), ("Failed", keys.STEP_LIMIT)),
        (listing("limit", outcome=Outcome(limit="tokens")), ("Failed", keys.TOKEN_LIMIT)),
        (listing("limit", outcome=Outcome(limit="active")), ("TimedOut", keys.ACTIVE_SECONDS)),
        (listing("limit", outcome=Outcome(limit="deadline")), ("TimedOut", keys.DEADLINE)),
    ],
)
@pytest.mark.case("protocol: each word of a pod")
def test_what_a_pod_reports_becomes_the_phase(situation: Make, said: Any, end: tuple[str, str]) -> None:
    """Each end of the protocol has one phase and one reason, and is not acked before it is written."""
    (action,) = actions(situation(RUNNING, said))

    assert isinstance(action, WriteEnd)
    assert (action.phase, action.reason) == end


@pytest.mark.case("protocol: each word of a pod")
def test_a_park_is_written_and_then_acked(situation: Make) -> None:
    """Rule 2: the ack follows once the store shows what was written."""
    said = listing("parked", waiting_for=(TIMER,))

    assert actions(situation(RUNNING, said)) == (WriteParked(said),)
    assert actions(situation(PARKED, said)) == (Ack("pod-a", 1),)
    assert actions(situation(RUNNING, said, settings=rules_off("2"))) == (Ack("pod-a", 1), WriteParked(said))


def test_an_end_is_acked_once_it_is_stored(situation: Make) -> None:
    """The pod may forget what the object says."""
    assert actions(situation(ENDED, listing("succeeded"))) == (Ack("pod-a", 1),)


@pytest.mark.case("protocol: each word of a pod")
def test_a_run_that_does_not_fit_is_held(situation: Make) -> None:
    """Incompatible state stops the run whole."""
    said = listing("incompatible")

    assert actions(situation(RUNNING, said)) == (WriteHeld(said),)


@pytest.mark.case("protocol: each word of a pod")
def test_a_drained_run_is_assigned_again_uncharged(situation: Make) -> None:
    """An execution that the run did not end itself costs it no attempt."""
    assert actions(situation(RUNNING, listing("drained"))) == (Assign("v1", attempts=1),)


def test_a_run_that_its_pod_cannot_go_on_with_is_charged(situation: Make) -> None:
    """Fenced, though no higher epoch is known: the pod failed to execute it; without a charge that would never end."""
    (action,) = actions(situation(RUNNING, listing("fenced")))

    assert isinstance(action, Assign)
    assert action.attempts == 2


@pytest.mark.case("protocol: each word of a pod")
def test_a_fenced_run_goes_on_above_the_journals_epoch(situation: Make) -> None:
    """Rule 13: after a restored etcd the next epoch is above what the journal knows."""
    said = listing("fenced", journal_epoch=9)

    assert actions(situation(RUNNING, said)) == (Assign("v1", attempts=1, above_epoch=9),)
    (without,) = actions(situation(RUNNING, said, settings=rules_off("13")))
    assert without.above_epoch == 0


def test_progress_is_written_at_most_every_30_seconds(situation: Make) -> None:
    """A young run, or one reported a moment ago, waits."""
    said = listing(steps=12)

    assert actions(situation(RUNNING, said)) == (Report(keys.ASSIGNED, "", said),)
    assert judge(situation(RUNNING, said, reported_at=ago(10))) == Verdict((), again_at=hence(20))


# Losing a pod


def test_a_crash_is_charged_and_waits(situation: Make) -> None:
    """The pod is terminal by its own doing: one attempt more, after 1 s from the assignment."""
    dead = change(POD, phase="Failed", exit_code=137)
    late = situation(RUNNING, is_pod_gone=True, pod=dead, mirror=None)
    early = replace(late, run=change(RUNNING, assigned_at=ago(0.5)), lost_since=NOW)

    (action,) = actions(late)
    assert action == Assign("v1", attempts=2, message="pod support-v1-0 ended with exit code 137")
    assert judge(early).actions == ()


@pytest.mark.parametrize("pod", [change(POD, phase="Failed", disrupted=True), change(POD, deleting=True), None])
@pytest.mark.case("draining: nodes are drained over and over")
def test_a_disruption_is_not_charged(situation: Make, pod: Any) -> None:
    """Rule 14: eviction, deletion and vanished pods cost no attempt."""
    s = situation(RUNNING, is_pod_gone=True, pod=pod, mirror=None)

    assert actions(s) == (Assign("v1", attempts=1),)


@pytest.mark.parametrize("died_with", [2, None], ids=["several", "nobody knows"])
@pytest.mark.case("protocol: rule 17")
def test_a_death_with_others_is_not_charged(situation: Make, died_with: int | None) -> None:
    """Rule 17: it is marked on each of them; without the rule each is charged."""
    dead = change(POD, phase="Failed", exit_code=137)
    s = situation(RUNNING, is_pod_gone=True, pod=dead, mirror=None, died_with=died_with)
    words = "pod support-v1-0 ended with exit code 137"

    assert actions(s) == (Assign("v1", attempts=1, message=words, pod_deaths=1),)
    assert actions(replace(s, settings=rules_off("17"))) == (Assign("v1", attempts=2, message=words),)


@pytest.mark.case("protocol: rule 17")
def test_at_two_deaths_a_run_goes_alone_and_is_charged(situation: Make) -> None:
    """Rule 17: it waits for an empty pod, in a line of its own; what dies under it there is its own doing."""
    dead = change(POD, phase="Failed", exit_code=137)
    second = situation(
        change(RUNNING, pod_deaths=1), is_pod_gone=True, pod=dead, mirror=None, died_with=4, lost_since=NOW
    )
    (action,) = actions(second)
    assert (action.pod_deaths, action.attempts) == (2, 1)

    crowded = judge(replace(second, can_place_alone=False))
    assert (crowded.actions, crowded.needs_slot, crowded.alone) == ((), True, True)
    to_end = judge(replace(second, run=change(RUNNING, pod_deaths=1, cancel=True), can_place_alone=False))
    assert (to_end.actions, to_end.needs_slot, to_end.alone) == ((), True, True)

    alone = replace(second, run=change(RUNNING, pod_deaths=2), died_with=None)
    (action,) = actions(alone)
    assert (action.pod_deaths, action.attempts) == (2, 2)


@pytest.mark.case("protocol: rule 17")
def test_a_step_recorded_alone_clears_what_stood_against_a_run(situation: Make) -> None:
    """Rule 17: progress on a pod of its own shows that the run does not kill pods at once."""
    dead = change(POD, phase="Failed", exit_code=137)
    run = change(RUNNING, pod_deaths=2, steps=5, steps_at_attempt=4)
    (action,) = actions(situation(run, is_pod_gone=True, pod=dead, mirror=None))

    assert (action.pod_deaths, action.attempts) == (0, 1)


def test_another_boot_is_another_process(situation: Make) -> None:
    """Rule 5: a container that came back in place has lost the run; without the rule it gets the old epoch."""
    s = situation(RUNNING, mirror=mirror(boot="boot-b"))

    (action,) = actions(s)
    assert isinstance(action, Assign)
    assert action.attempts == 2
    assert actions(replace(s, settings=rules_off("5"))) == (SendOffer(),)


def test_progress_resets_attempts(situation: Make) -> None:
    """Rule 14: more steps than at the claim mean that the run gets on."""
    run = change(RUNNING, attempts=3, steps=10, steps_at_attempt=4)
    s = situation(run, is_pod_gone=True, pod=change(POD, phase="Failed"), mirror=None)

    (action,) = actions(s)
    assert action.attempts == 1
    (charged,) = actions(replace(s, settings=rules_off("14")))
    assert charged.attempts == 4


@pytest.mark.case("runs: one that always kills its pod")
def test_used_up_attempts_end_through_the_journal(situation: Make) -> None:
    """The last claim executes nothing; it asks whether the journal holds an end, else the run failed."""
    run = change(RUNNING, attempts=3)
    s = situation(run, is_pod_gone=True, pod=change(POD, phase="Failed", exit_code=1), mirror=None)
    (action,) = actions(s)
    next_run = change(run, attempts=action.attempts, epoch=2, message=action.message)

    assert action.attempts == 4
    assert actions(situation(next_run, mirror=mirror())) == (SendOffer(end="attempts"),)


def test_a_cut_poll_is_not_a_lost_pod(situation: Make) -> None:
    """Rule 6: silence alone starts nothing a second time."""
    silent = mirror(failing_since=ago(25))
    s = situation(RUNNING, mirror=silent, silent_since=ago(25))

    assert actions(s) == ()
    assert isinstance(actions(replace(s, settings=rules_off("6")))[0], Assign)


def test_a_loss_without_a_slot_is_written_after_30_seconds(situation: Make) -> None:
    """A run that finds no pod for 30 s becomes Pending and says why."""
    s = situation(RUNNING, is_pod_gone=True, pod=None, mirror=None, can_place=False)
    (action,) = actions(replace(s, lost_since=ago(31)))

    assert judge(replace(s, lost_since=ago(10))) == Verdict((), again_at=hence(20), needs_slot=True)
    assert isinstance(action, WritePending)
    assert (action.attempts, action.reason) == (1, keys.NO_FREE_SLOT)


def test_a_pending_run_comes_back_after_its_back_off(situation: Make) -> None:
    """The loss is charged once: when it was written."""
    early = change(LOST, attempts=3, assigned_at=ago(1))

    assert actions(situation(LOST)) == (Assign("v1", attempts=2),)
    assert judge(situation(early)) == Verdict((), again_at=hence(1))


# Bounds on a pod (rule 10)


def test_the_pod_is_told_first(situation: Make) -> None:
    """A cancel reaches the pod; the object waits for what the pod says."""
    run = change(RUNNING, cancel=True)
    s = situation(run, listing())

    assert actions(s) == (Tell("pod-a", 1, "cancel"),)
    assert actions(replace(s, told=(Told("pod-a", 1, NOW, is_delivered=True),))) == ()
    assert actions(replace(s, told=(Told("pod-a", 1, NOW, is_delivered=False),))) == (Tell("pod-a", 1, "cancel"),)
    assert isinstance(actions(replace(s, settings=rules_off("10")))[0], WriteEnd)


def test_an_end_that_the_pod_reports_wins(situation: Make) -> None:
    """A run that has just succeeded has succeeded, whatever was asked meanwhile."""
    run = change(RUNNING, cancel=True)
    (action,) = actions(situation(run, listing("succeeded"), told=told(1)))

    assert action.phase == "Succeeded"


@pytest.mark.case("runs: a hung and silent pod passes a limit")
def test_a_silent_pod_is_killed_after_grace_and_silence(situation: Make) -> None:
    """30 s after it was told, and 10 s without an answer, the pod goes."""
    run = change(RUNNING, cancel=True)
    s = situation(run, listing(), told=told(31), silent_since=ago(11))

    assert actions(s) == (KillPod("pod-a"),)
    assert judge(replace(s, told=told(25))) == Verdict((), again_at=hence(5))
    assert KillPod("pod-a") not in actions(replace(s, silent_since=None))
    assert KillPod("pod-a") not in actions(replace(s, is_network_doubtful=True))
    assert actions(replace(s, pod=change(POD, deleting=True))) == ()


def test_a_running_run_says_what_it_waits_for(situation: Make) -> None:
    """A silent pod, a refused offer and a cancel under way stand on the object after 30 s, once."""
    silent = situation(RUNNING, listing(), silent_since=ago(31))
    refused = situation(RUNNING, offer_refused=Refused(ago(31), "pod answered 503: no database"))
    cancelled = situation(change(RUNNING, cancel=True), listing(), told=told(31))

    for s, reason in ((silent, keys.POD_UNREACHABLE), (refused, keys.OFFER_REFUSED), (cancelled, keys.CANCELLING)):
        said = [action for action in actions(s) if isinstance(action, Report)]
        assert [each.reason for each in said] == [reason]
        assert "since 2026-05-01T11:59:29Z" in said[0].message
        assert s.run is not None
        assert not any(isinstance(a, Report) for a in actions(replace(s, run=change(s.run, reason=reason))))
    back = situation(change(RUNNING, reason=keys.POD_UNREACHABLE), listing())
    assert actions(back) == (Report(keys.ASSIGNED, "", listing()),)


def test_a_held_run_can_be_cancelled_whatever_a_pod_lists(situation: Make) -> None:
    """A listing with a higher epoch does not take a held run out of reach: Held never becomes Running."""
    run = change(RUNNING, phase="Held", cancel=True)
    (end,) = actions(situation(run, listing(epoch=5)))

    assert end.phase == "Cancelled"


def test_a_lost_run_is_ended_through_another_pod(situation: Make) -> None:
    """A cancelled run whose pod is gone is claimed elsewhere and ended there, executing nothing."""
    run = change(RUNNING, cancel=True)
    lost = situation(run, is_pod_gone=True, pod=None, mirror=None)
    claimed = situation(change(run, epoch=2))

    assert actions(lost) == (Assign("v1", attempts=1),)
    assert actions(claimed) == (SendOffer(end="cancel"),)


def test_an_end_nobody_can_ask_about_is_written_after_five_minutes(situation: Make) -> None:
    """When no pod could answer for nodeLostSeconds, the object is ended and says so."""
    run = change(RUNNING, cancel=True)
    s = situation(run, is_pod_gone=True, pod=None, mirror=None, can_place=False, lost_since=ago(301))
    (action,) = actions(s)

    assert (action.phase, action.reason) == ("Cancelled", keys.JOURNAL_UNREACHABLE)
    assert actions(replace(s, lost_since=ago(299))) == ()


# Parked


def test_a_due_timer_wakes_and_is_named(situation: Make) -> None:
    """Rule 15: the assignment names the timers that the operator saw due."""
    run = change(PARKED, waiting_for=(TIMER, DUE))

    assert actions(situation(run)) == (Assign("v1", attempts=1, wake=("w2",)),)
    assert judge(situation(PARKED)) == Verdict((), again_at=hence(100))


def test_a_due_run_without_a_slot_stays_parked(situation: Make) -> None:
    """It says that it waits for a slot; its phase does not change."""
    due = msgspec.structs.replace(DUE, until=ago(31))
    run = change(PARKED, waiting_for=(due,), created_at=ago(100))
    (said,) = actions(situation(run, can_place=False))

    assert judge(situation(change(run, waiting_for=(DUE,)), can_place=False)).actions == ()
    assert isinstance(said, Report)
    assert said.reason == keys.NO_FREE_SLOT


# Stale and foreign listings


def test_a_stale_execution_is_ended_once_the_new_one_is_claimed(situation: Make) -> None:
    """Ending the old execution before the new claim could end the run in the journal."""
    run = change(RUNNING, epoch=2, pod_uid="pod-b")
    stale = Listed("pod-a", listing())
    fresh = Listed("pod-b", listing(epoch=2))
    holds = mirror(listing(epoch=2), pod_uid="pod-b")
    unclaimed = situation(run, mirror=mirror(pod_uid="pod-b"), listed=(stale,))
    claimed = situation(run, mirror=holds, listed=(stale, fresh))

    assert actions(unclaimed) == (SendOffer(),)
    assert actions(claimed) == (Tell("pod-a", 1, "superseded"),)


def test_an_execution_of_a_parked_run_is_superseded(situation: Make) -> None:
    """A late duplicate of an offer woke it on its pod: it is stopped there, without an outcome."""
    assert actions(situation(PARKED, listing())) == (Tell("pod-a", 1, "superseded"),)


def test_a_run_deleted_by_hand_is_ended_on_its_pod(situation: Make) -> None:
    """Rule 11: the uid is looked up consistently first; then the pod is told, and acked once it has stopped."""
    s = situation(None, listing())

    assert actions(s) == (ConfirmAbsent("run-1", "pod-a"),)
    assert actions(replace(s, is_absent=True, told=told(1))) == ()
    assert actions(replace(s, is_absent=True)) == (Tell("pod-a", 1, "deleted"),)
    assert actions(replace(s, is_absent=True, settings=rules_off("11"))) == ()
    stopped = replace(s, is_absent=True, listed=(Listed("pod-a", listing("cancelled")),))
    assert actions(stopped) == (Ack("pod-a", 1),)


# Ended


def test_an_ended_run_goes_after_its_time(situation: Make) -> None:
    """A day after its end by default; never if git tracks it; earlier if there are too many."""
    old = change(ENDED, ended_at=ago(86_401))

    assert judge(situation(ENDED)) == Verdict((), again_at=hence(86_390))
    assert actions(situation(old)) == (DeleteRun(),)
    assert actions(situation(change(old, gitops=True))) == ()
    assert actions(situation(ENDED, is_surplus=True)) == (DeleteRun(),)
    assert actions(situation(change(ENDED, gitops=True), is_surplus=True)) == ()
