"""Messages and decisions on their way to a run: what wakes it, what its pod is sent, and how often."""

from collections.abc import Callable

import msgspec
import pytest

from pinfleet.wire import Decision, Wait
from pinfleet_operator.api import keys
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.runs.judge import judge
from pinfleet_operator.runs.judge.situation import Assign, Report, SendOffer, Situation, Tell, Verdict, WriteEnd
from pinfleet_operator.runs.memory import RunMemory, Tried
from pinfleet_operator.runs.patch import parked
from pinfleet_operator.runs.situate import next_update_at, next_wake_at
from tests.unit.operator.runs.conftest import NOW, RUNNING, ago, hence, listing

Make = Callable[..., Situation]
change = msgspec.structs.replace
HASH = "a" * 64
ASKS = Wait(id="w1", kind="Approval", name="refund", hash=HASH)
RECEIVES = Wait(id="w2", kind="Message", name="Reply", until=hence(100))
PARKED = change(RUNNING, phase="Parked", pod=None, pod_uid=None, boot=None, waiting_for=(RECEIVES,), parked_at=ago(5))
CALLED = change(PARKED, messages=2, messages_seen=1)
ASKING = change(PARKED, waiting_for=(ASKS,))
YES = Decision(hash=HASH, decision="approved", by="ann", at=ago(1))
WAKE = Assign("v1", attempts=1)


# A parked run


@pytest.mark.case("protocol: rule 9")
def test_a_message_wakes_a_parked_run(situation: Make) -> None:
    """A parked run that has not seen a message is assigned; one that has seen them all sleeps on."""
    assert judge(situation(CALLED)).actions == (WAKE,)
    assert judge(situation(change(CALLED, messages_seen=2))) == Verdict(again_at=RECEIVES.until)


@pytest.mark.case("protocol: rule 9")
def test_a_decision_wakes_the_run_that_waits_for_it(situation: Make) -> None:
    """An accepted decision wakes the run that asks for it, once: not one that has it, or asks for something else."""
    assert judge(situation(ASKING, decisions=(YES,))).actions == (WAKE,)
    assert judge(situation(change(ASKING, decisions_seen=(HASH,)), decisions=(YES,))).actions == ()
    assert judge(situation(PARKED, decisions=(YES,))).actions == ()


def test_a_wake_without_effect_is_not_repeated_at_once(situation: Make) -> None:
    """A pod that parks a run again, and has not recorded what it was woken for, gets it later and later."""
    assert judge(situation(CALLED, next_wake_at=hence(4))) == Verdict(again_at=hence(4))
    memory = RunMemory(seen_at=NOW, reported_at=NOW)
    assert next_wake_at(memory, CALLED) is None
    memory.woken = Tried(2, frozenset(), 2, NOW, times=3)
    assert next_wake_at(memory, CALLED) == hence(4)
    assert next_wake_at(memory, change(CALLED, messages=3)) is None


def test_a_called_run_without_a_slot_stays_parked(situation: Make) -> None:
    """A run that is to be woken waits for a slot as Parked, and says so."""
    found = judge(situation(CALLED, can_place=False, lost_since=ago(60)))

    assert found.needs_slot
    (told,) = found.actions
    assert isinstance(told, Report)
    assert told.reason == keys.NO_FREE_SLOT


# The park itself


def parked_with(s: Situation) -> object:
    """How many messages the written park says the run has seen."""
    (write,) = judge(s).actions
    assert s.run is not None
    return parked(s.run, write, NOW)["messagesSeen"]  # type: ignore[arg-type]


@pytest.mark.case("protocol: rule 9", "runs: a message comes while its run parks, or twice")
def test_a_park_says_what_the_run_had_seen(situation: Make) -> None:
    """A message that came while the run parked is not in what the park says it saw, so that it wakes the run."""
    beside = change(RUNNING, messages=2)
    own = listing("parked", messages_seen=1, waiting_for=(RECEIVES,))

    assert parked_with(situation(beside, own)) == 1


def test_without_rule_9_the_message_is_lost(situation: Make) -> None:
    """Control: a park that takes all that the object holds for seen leaves the run asleep beside its message."""
    beside = change(RUNNING, messages=2)
    own = listing("parked", messages_seen=1, waiting_for=(RECEIVES,))

    assert parked_with(situation(beside, own, settings=Settings(rules_off=frozenset({"9"})))) == 2


# A running run


def test_a_running_run_is_sent_what_is_new(situation: Make) -> None:
    """Its pod gets an update at the same epoch while it lists a message, or a decision it asks for, as not seen."""
    late = change(RUNNING, messages=2)
    waits = listing(waiting_for=(ASKS,))

    assert SendOffer() in judge(situation(late, listing(messages_seen=1))).actions
    assert SendOffer() not in judge(situation(late, listing(messages_seen=2))).actions
    assert SendOffer() in judge(situation(RUNNING, waits, decisions=(YES,))).actions
    assert SendOffer() not in judge(situation(RUNNING, listing(), decisions=(YES,))).actions


def test_an_update_is_not_repeated_at_once(situation: Make) -> None:
    """What was sent is not sent again in the same second; what came since is."""
    late, own = change(RUNNING, messages=2), listing(messages_seen=1)
    memory = RunMemory(seen_at=NOW, reported_at=NOW, offered=Tried(2, frozenset(), 2, NOW))

    assert next_update_at(memory, late, own) == hence(1)
    assert next_update_at(memory, change(late, messages=3), own) is None
    assert next_update_at(memory, late, listing(messages_seen=2)) is None
    assert judge(situation(late, own, next_update_at=hence(1), reported_at=NOW)).again_at == hence(1)


def test_an_approval_shows_at_once(situation: Make) -> None:
    """What a warm run asks people for is written when it is listed, not with the progress of the next half minute."""
    young = situation(RUNNING, listing(waiting_for=(ASKS,)), reported_at=NOW)
    told = situation(change(RUNNING, waiting_for=(ASKS,)), listing(waiting_for=(ASKS,)), reported_at=NOW)

    assert judge(young).actions == (Report(keys.ASSIGNED, "", listing(waiting_for=(ASKS,))),)
    assert judge(told).actions == ()


@pytest.mark.case("runs: a message comes while its run parks, or twice")
def test_a_message_that_no_pod_would_take_ends_the_run(situation: Make) -> None:
    """A message over its bound fails the run with what is wrong, on its pod or without one."""
    running, asleep = (change(run, unfit_message="message m has 20000 bytes") for run in (RUNNING, PARKED))
    told = judge(situation(running, listing()))
    ended = judge(situation(running, listing("cancelled")))

    assert told.actions == (Tell("pod-a", 1, "cancel"),)
    for found in (ended, judge(situation(asleep))):
        (end,) = found.actions
        assert isinstance(end, WriteEnd)
        assert (end.phase, end.reason, end.message) == ("Failed", keys.UNFIT_MESSAGE, running.unfit_message)
