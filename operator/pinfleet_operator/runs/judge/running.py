"""Runs that are on a pod, or were: offers, ends, parks, losses. Pure."""

from dataclasses import replace
from datetime import datetime, timedelta

from pinfleet.wire import EndReason, RunListing
from pinfleet_operator.api import keys
from pinfleet_operator.api.run import ALONE_AT_DEATHS, Phase, RunRecord
from pinfleet_operator.runs.judge.bounds import (
    due_timers,
    earliest,
    end_of,
    ending,
    next_attempt,
    next_deaths,
    retry_at,
)
from pinfleet_operator.runs.judge.news import park, update
from pinfleet_operator.runs.judge.situation import (
    Ack,
    Action,
    Assign,
    KillPod,
    Report,
    SendOffer,
    Situation,
    Tell,
    Verdict,
    WriteEnd,
    WriteHeld,
    WritePending,
)
from pinfleet_operator.runs.judge.waiting import no_slot
from pinfleet_operator.runs.waits import asks_anew, is_told


def epoch_fell(s: Situation) -> Verdict | None:
    """Rule 13: a pod or a journal knows an epoch above the object's (a restored etcd); go on above it."""
    run = s.run
    if run is None or run.version is None or run.phase == "Held" or not s.settings.has_rule("13"):
        return None
    own = s.own
    journal = own.journal_epoch or 0 if own is not None and own.state == "fenced" else 0
    above = max([s.above_epoch, journal, *(each.listing.epoch for each in s.listed)])
    if above <= run.epoch:
        return None
    if s.has_place(run.pod_deaths):
        return Verdict((_again(s, run, run.version, above_epoch=above),))
    return no_slot(s, run.version)


def lost_its_pod(s: Situation) -> Verdict | None:
    """Pending after an execution: its loss is written; it waits out its back-off, then for a slot."""
    run = s.run
    if run is None or run.phase != "Pending" or run.epoch == 0 or run.version is None:
        return None
    reason = ending(s)
    retry = retry_at(run, run.attempts)
    if reason is None and retry > s.now:
        return Verdict(again_at=retry)
    if s.has_place(run.pod_deaths):
        return Verdict((_again(s, run, run.version, message=run.message),))
    return _no_slot(s, run, reason, run.pod_deaths)


def stopped_on_its_pod(s: Situation) -> Verdict | None:
    """Its pod says that the execution is over."""
    run, own = s.run, s.own
    if run is None or own is None or own.epoch != run.epoch or own.state == "running":
        return None
    return _has_stopped(s, run, own)


def lost_with_its_pod(s: Situation) -> Verdict | None:
    """Its pod is gone, or another process is in it; silence alone is no loss (rules 5 and 6)."""
    run, mirror = s.run, s.mirror
    if run is None or run.phase != "Running":
        return None
    if s.is_pod_gone:
        has_died = s.pod is not None and s.pod.is_terminal and not s.pod.disrupted
        return _lost(s, run, is_charged=has_died, has_died=has_died)
    if mirror is not None and mirror.boot != run.boot and s.settings.has_rule("5"):
        return _lost(s, run, is_charged=True, has_died=True)
    if mirror is not None and s.silent_since is not None and not s.settings.has_rule("6"):
        return _lost(s, run, is_charged=True)
    return None


def goes_on_its_pod(s: Situation) -> Verdict | None:
    """Its pod executes it, as far as is known."""
    run, own = s.run, s.own
    if run is None or own is None or own.epoch != run.epoch:
        return None
    return _goes_on(s, run, own)


def not_held_yet(s: Situation) -> Verdict | None:
    """Assigned, and its pod does not list it: offer it, at the same epoch, until the pod does (rule 1)."""
    run, mirror = s.run, s.mirror
    if run is None or run.phase != "Running":
        return None
    if mirror is None or s.silent_since is not None:
        return _silent(s, run)
    if mirror.has_seen(s.uid, run.epoch) is None:
        return Verdict()  # accepted; the next answer shows it
    if not s.settings.has_rule("1"):
        return Verdict()
    if mirror.draining or mirror.refuses:
        return _lost(s, run, is_charged=False)
    if s.next_offer_at is not None and s.next_offer_at > s.now:
        return Verdict(again_at=s.next_offer_at)
    offer = SendOffer(end=ending(s))
    if s.offer_refused is None:
        return Verdict((offer,))
    told = _tell_people(s, keys.OFFER_REFUSED, s.offer_refused.message, s.offer_refused.since)
    return Verdict((offer, *told.actions), told.again_at)


def _has_stopped(s: Situation, run: RunRecord, own: RunListing) -> Verdict:
    """The execution is over: write what came of it. The ack follows once the store shows the write (rule 2)."""
    actions: tuple[Action, ...]
    match own.state:
        case "parked":
            actions = (park(s, own),)
        case "incompatible":
            actions = (WriteHeld(own),)
        case "drained":
            return _lost(s, run, is_charged=False)
        case "fenced":  # by nobody above us, or `epoch_fell` would have answered: the pod itself failed to go on
            return _lost(s, run, is_charged=True)
        case _:
            actions = (WriteEnd(*outcome_of(s, own), listing=own),)
    if not s.settings.has_rule("2") and run.pod_uid is not None:
        actions = (Ack(run.pod_uid, run.epoch), *actions)
    return Verdict(actions)


def outcome_of(s: Situation, own: RunListing) -> tuple[Phase, str, str]:
    """Phase, reason and message of an end that a pod reports."""
    error = own.outcome.error if own.outcome else None
    limit = own.outcome.limit if own.outcome else None
    if own.state == "succeeded":
        return "Succeeded", keys.COMPLETED, ""
    if own.state == "cancelled":
        return end_of(s, "cancel")
    if own.state == "limit" and limit in {"active", "deadline"}:
        return end_of(s, "active" if limit == "active" else "deadline")
    if own.state == "limit" and limit == "tokens":
        text = "the run's recorded steps have used the tokens that limits.maxTokens allows"
        return "Failed", keys.TOKEN_LIMIT, text
    if own.state == "limit":
        most = s.run.limits.max_steps if s.run and s.run.limits else own.steps
        return "Failed", keys.STEP_LIMIT, f"the run has used the {most} steps that limits.maxSteps allows"
    if error is not None and error.type == keys.ATTEMPTS_EXHAUSTED:
        return end_of(s, "attempts")
    return "Failed", keys.AGENT_ERROR, f"{error.type}: {error.message}" if error else "the agent failed"


def _goes_on(s: Situation, run: RunRecord, own: RunListing) -> Verdict:
    """It executes: end it if a bound was passed (rule 10), else report progress now and then."""
    reason = ending(s)
    if reason is not None and run.pod_uid is not None:
        if not s.settings.has_rule("10"):
            return Verdict((WriteEnd(*end_of(s, reason)),))
        return _press(s, run, reason)
    if s.silent_since is not None:
        return _silent(s, run)
    sent, told = update(s, own) or Verdict(), _progress(s, run, own)
    return Verdict((*sent.actions, *told.actions), earliest(sent.again_at, told.again_at))


def _progress(s: Situation, run: RunRecord, own: RunListing) -> Verdict:
    """What the run has done and waits for is written now and then; what it asks people for, at once."""
    if run.reason == keys.ASSIGNED and is_told(run, own):
        return Verdict()
    say_at = max(s.reported_at, run.created_at) + timedelta(seconds=s.settings.report_seconds)
    if say_at > s.now and not asks_anew(run, own):
        return Verdict(again_at=say_at)
    return Verdict((Report(keys.ASSIGNED, "", own),))


def _press(s: Situation, run: RunRecord, reason: EndReason) -> Verdict:
    """Tell the pod; if it stays silent beyond the grace, the pod goes, and its other runs go on elsewhere."""
    if run.pod_uid is None or (s.pod is not None and s.pod.deleting):
        return Verdict()
    told = s.told_of(run.pod_uid, run.epoch)
    tell = () if told is not None and told.is_delivered else (Tell(run.pod_uid, run.epoch, reason),)
    if told is None:
        return Verdict(tell)
    people = _tell_people(s, keys.CANCELLING, f"its pod was told to end it: {reason}", told.at)
    if s.silent_since is None or s.is_network_doubtful:
        return Verdict((*tell, *people.actions), people.again_at)  # a pod that answers commits the end after its grace
    grace = timedelta(seconds=s.settings.cancel_grace_seconds)
    silent = timedelta(seconds=s.settings.silent_seconds)
    kill_at = max(told.at + grace, s.silent_since + silent)
    return Verdict((KillPod(run.pod_uid),)) if kill_at <= s.now else Verdict(tell, again_at=kill_at)


def _silent(s: Situation, run: RunRecord) -> Verdict:
    """The pod exists but does not answer: a cut poll is not a lost pod (rule 6)."""
    reason = ending(s)
    if reason is not None:
        return _press(s, run, reason)
    since = s.silent_since or s.reported_at
    return _tell_people(s, keys.POD_UNREACHABLE, f"pod {run.pod} does not answer the operator", since)


def _tell_people(s: Situation, reason: str, message: str, since: datetime) -> Verdict:
    """Say on a Running run what it waits for, once that has lasted for a while."""
    if s.run is None or s.run.reason == reason:
        return Verdict()
    say_at = since + timedelta(seconds=s.settings.report_seconds)
    if say_at > s.now:
        return Verdict(again_at=say_at)
    return Verdict((Report(reason, f"{message}; since {since:%Y-%m-%dT%H:%M:%SZ}"),))


def _again(s: Situation, run: RunRecord, version: str, *, above_epoch: int = 0, message: str = "") -> Assign:
    """The same attempt, on another pod."""
    attempts = max(1, run.attempts)
    return Assign(version, attempts, above_epoch, due_timers(s), message, run.pod_deaths)


def _lost(s: Situation, run: RunRecord, *, is_charged: bool, has_died: bool = False) -> Verdict:
    """The execution ended without an outcome: assign it again, above what the journal knows, or say that it waits.

    A death with several runs present, or one of which this process does not know how many there were, is nobody's: each
    is marked instead, and at two marks goes alone (rule 17).
    """
    if run.version is None:
        return Verdict()
    is_shared = has_died and s.died_with != 1 and not run.goes_alone and s.settings.has_rule("17")
    is_charged = is_charged and not is_shared
    attempts, deaths = next_attempt(s, is_charged=is_charged), next_deaths(s, is_shared=is_shared)
    is_last = run.limits is not None and attempts > run.limits.max_attempts
    message = _last_words(s) if is_charged or has_died else ""
    retry = retry_at(run, attempts) if is_charged and not is_last and s.settings.has_rule("14") else s.now
    if retry > s.now:
        pending = WritePending(attempts, keys.BACKING_OFF, message, deaths)
        return _pending_after_a_while(s, pending, retry_at_seconds=(retry - s.now).seconds)
    if s.has_place(deaths):
        return Verdict((Assign(run.version, attempts, wake=due_timers(s), message=message, pod_deaths=deaths),))
    reason: EndReason | None = "attempts" if is_last else ending(s)
    if reason is not None:
        return _no_slot(s, run, reason, deaths)
    return _pending_after_a_while(s, WritePending(attempts, keys.NO_FREE_SLOT, message, deaths))


def _pending_after_a_while(s: Situation, pending: WritePending, *, retry_at_seconds: int | None = None) -> Verdict:
    """A loss that is mended within 30 s costs no write of its own; one that is not is written."""
    needs_slot, alone = pending.reason == keys.NO_FREE_SLOT, pending.pod_deaths >= ALONE_AT_DEATHS
    if s.lost_since is None:
        return Verdict(again_at=s.now + timedelta(seconds=1), needs_slot=needs_slot, alone=alone)
    say_at = s.lost_since + timedelta(seconds=s.settings.report_seconds)
    if say_at <= s.now:
        since = f"{s.lost_since:%Y-%m-%dT%H:%M:%SZ}"
        words = pending.message or f"its pod is gone and no other has a free slot; waits since {since}"
        return Verdict((replace(pending, message=words),), needs_slot=needs_slot, alone=alone)
    wait = retry_at_seconds if retry_at_seconds is not None else s.settings.report_seconds
    return Verdict(again_at=min(say_at, s.now + timedelta(seconds=max(1, wait))), needs_slot=needs_slot, alone=alone)


def _no_slot(s: Situation, run: RunRecord, reason: EndReason | None, deaths: int) -> Verdict:
    """No pod can take it: an end is written without the journal once none could for ``node_lost_seconds``.

    By its deaths, not by those on its object, it waits for a pod of its own: two runs that wait for any slot and cannot
    take it would hand the first free one to each other for ever.
    """
    if reason is None:
        return no_slot(s, run.version or "")
    give_up_at = (s.lost_since or s.now) + timedelta(seconds=s.settings.node_lost_seconds)
    if s.lost_since is None or give_up_at > s.now:
        return Verdict(again_at=give_up_at, needs_slot=True, alone=deaths >= ALONE_AT_DEATHS)
    phase, name, message = end_of(s, reason)
    return Verdict((WriteEnd(phase, keys.JOURNAL_UNREACHABLE, f"{name} {message}; no pod could read its journal"),))


def _last_words(s: Situation) -> str:
    pod = s.pod
    if pod is None:
        return "its pod is gone"
    if not pod.is_terminal:
        return f"pod {pod.name} could not go on with it"
    words = f"pod {pod.name} ended with exit code {pod.exit_code}"
    return f"{words}: {pod.termination_message.strip()}" if pod.termination_message.strip() else words
