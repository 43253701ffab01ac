"""Runs that are on no pod: new, refused, waiting for their fleet or a slot, parked, held, ended. Pure."""

from datetime import datetime, timedelta

from pinfleet_operator.api import keys
from pinfleet_operator.api.nesting import VALUE_DEPTH_LIMIT
from pinfleet_operator.api.run import INPUT_LIMIT_BYTES
from pinfleet_operator.runs.judge.bounds import due_timers, end_of, ending, merge
from pinfleet_operator.runs.judge.news import has_news
from pinfleet_operator.runs.judge.situation import (
    Assign,
    DeleteRun,
    Pin,
    Report,
    Situation,
    Verdict,
    WriteEnd,
)


def no_object(s: Situation) -> Verdict | None:
    """The object is gone: only listings matter."""
    return Verdict() if s.run is None else None


def ended(s: Situation) -> Verdict | None:
    """Terminal is final; after its time to live, or as one too many, the object goes, unless git tracks it."""
    run = s.run
    if run is None or run.is_open:
        return None
    if s.listed or run.deleting or run.gitops or s.fleet is None or run.ended_at is None:
        return Verdict()
    if s.is_surplus:
        return Verdict((DeleteRun(),))
    expires_at = run.ended_at + timedelta(seconds=s.fleet.run_ttl_seconds)
    return Verdict((DeleteRun(),)) if expires_at <= s.now else Verdict(again_at=expires_at)


def ends_without_pod(s: Situation) -> Verdict | None:
    """A run that no pod ever held, or that is parked or held, is ended on the object at once (rule 10)."""
    run = s.run
    reason = ending(s)
    if run is None or reason is None or reason == "deleted":
        return None
    if run.phase not in {"Parked", "Held"} and run.epoch > 0:
        return None
    if not s.settings.has_rule("9") and run.phase == "Parked" and s.told:
        return None  # the cancel was heard while the run still ran
    return Verdict((WriteEnd(*end_of(s, reason)),))


def refused(s: Situation) -> Verdict | None:
    """A new run that can never be served fails at once, with what to write instead."""
    run, fleet = s.run, s.fleet
    if run is None or run.phase != "Pending" or run.version is not None:
        return None
    if run.input_bytes > INPUT_LIMIT_BYTES:
        text = f"the input has {run.input_bytes} bytes, {INPUT_LIMIT_BYTES} are allowed: pass large things by reference"
        return Verdict((WriteEnd("Failed", keys.INPUT_TOO_LARGE, text),))
    if run.is_input_too_deep:
        text = f"the input nests deeper than {VALUE_DEPTH_LIMIT} levels: pass it as text, or by reference"
        return Verdict((WriteEnd("Failed", keys.INPUT_TOO_DEEP, text),))
    if fleet is None or fleet.is_deleting:
        return None
    if fleet.has_four_eyes and run.requester is None:
        text = f"fleet {fleet.name} has spec.approvals.fourEyes: name who asks for the run in spec.task.requester"
        return Verdict((WriteEnd("Failed", keys.REQUESTER_MISSING, text),))
    if merge(fleet.limits, run.requested_limits) is None:
        text = f"spec.task.limits may only lower the limits of fleet {fleet.name}: {_show_limits(s)}"
        return Verdict((WriteEnd("Failed", keys.LIMITS_EXCEED_FLEET, text),))
    live = [v for v in (fleet.active_version, fleet.candidate_version) if v is not None]
    if run.requested_version is not None and live and run.requested_version not in live:
        text = f"version {run.requested_version} of fleet {fleet.name} takes no new runs; live now: {', '.join(live)}"
        return Verdict((WriteEnd("Failed", keys.VERSION_NOT_LIVE, text),))
    return None


def waits_for_fleet(s: Situation) -> Verdict | None:
    """A new run waits while its fleet is unknown, ends, is paused, or is being switched."""
    run, fleet = s.run, s.fleet
    if run is None or run.phase != "Pending" or run.version is not None:
        return None
    if fleet is None:
        return waiting(s, keys.FLEET_NOT_FOUND, f"no AgentDeployment {run.fleet} in namespace {run.namespace}")
    if fleet.is_deleting:
        return waiting(s, keys.DELETING, f"fleet {fleet.name} is being deleted and takes no new runs")
    if fleet.is_paused:
        return waiting(s, keys.FLEET_PAUSED, f"fleet {fleet.name} is paused: set spec.paused to false")
    if fleet.active_version is None and run.requested_version is None:
        return waiting(s, keys.NO_ACTIVE_VERSION, f"the first version of fleet {fleet.name} is not ready yet")
    if not s.may_pin:
        return Verdict()  # rule 3: opened again by an event
    return None


def explicit_pin(s: Situation) -> Verdict | None:
    """An explicit version is judged once and written when first observed."""
    run, fleet = s.run, s.fleet
    if run is None or run.phase != "Pending" or run.version is not None or run.requested_version is None:
        return None
    if fleet is None or run.requested_version not in {fleet.active_version, fleet.candidate_version}:
        return waiting(s, keys.NO_ACTIVE_VERSION, f"no version of fleet {run.fleet} is ready yet")
    return Verdict((Pin(run.requested_version),))


def first_assignment(s: Situation) -> Verdict | None:
    """A run that was never assigned gets a slot of its version."""
    run, fleet = s.run, s.fleet
    if run is None or run.phase != "Pending" or run.epoch > 0:
        return None
    version = run.version or (fleet.active_version if fleet else None)
    if version is None:
        return None
    if s.can_place:
        return Verdict((Assign(version, attempts=1),))
    return no_slot(s, version)


def parked(s: Situation) -> Verdict | None:
    """A parked run sleeps until a timer is due, or it has not seen a message or a decision (rules 9 and 15)."""
    run = s.run
    if run is None or run.phase != "Parked" or run.version is None:
        return None
    due = due_timers(s)
    if not s.settings.has_rule("9") and any(w.until and w.until <= (run.parked_at or s.now) for w in run.waiting_for):
        return Verdict()  # the timer went off before anybody listened to it
    is_called = has_news(s, run.waiting_for, run.messages_seen, run.decisions_seen)
    wake_at = s.now if due else (s.next_wake_at or s.now) if is_called else None
    if wake_at is None and not run.waiting_for:
        # A pod that had parked it before etcd was put back no longer knew what for; its journal tells the next one.
        wake_at = (run.parked_at or s.now) + timedelta(seconds=s.settings.report_seconds)
    if wake_at is None or wake_at > s.now:
        later = [wait.until for wait in run.waiting_for if wait.until is not None]
        return Verdict(again_at=min(later if wake_at is None else [*later, wake_at], default=None))
    if s.has_place(run.pod_deaths):
        return Verdict((Assign(run.version, max(1, run.attempts), wake=due, pod_deaths=run.pod_deaths),))
    first = min((wait.until for wait in run.waiting_for if wait.until is not None), default=None)
    why = "a timer is due" if due else "it is to be woken"
    return no_slot(s, run.version, f"{why}, but ", since=first if due else None)


def held(s: Situation) -> Verdict | None:
    """A held run moves only by cancel or deadline, which were asked before."""
    return Verdict() if s.run is not None and s.run.phase == "Held" else None


def no_slot(s: Situation, version: str, why: str = "", *, since: datetime | None = None) -> Verdict:
    """It waits for a slot of its version; where a person must act on that version's pods, the run says so too."""
    message = why + _place_lacking(s, version)
    trouble = s.fleet.trouble_of(version) if s.fleet is not None else None
    if trouble is not None:
        return waiting(s, trouble.reason, f"{message}: {trouble.message}", since=since, needs_slot=True)
    return waiting(s, keys.NO_FREE_SLOT, message, since=since, needs_slot=True)


def waiting(
    s: Situation, reason: str, message: str, *, since: datetime | None = None, needs_slot: bool = False
) -> Verdict:
    """Nothing can be done yet; say so on the object, but not in the first 30 s, and only if it changed."""
    run = s.run
    alone = run is not None and run.goes_alone
    if run is None or run.reason == reason:
        return Verdict(needs_slot=needs_slot, alone=alone)
    since = since or s.lost_since or run.created_at
    say_at = max(since, s.reported_at) + timedelta(seconds=s.settings.report_seconds)
    if say_at > s.now:
        return Verdict(again_at=say_at, needs_slot=needs_slot, alone=alone)
    told = Report(reason, f"{message}; waits since {since:%Y-%m-%dT%H:%M:%SZ}")
    return Verdict((told,), needs_slot=needs_slot, alone=alone)


def _place_lacking(s: Situation, version: str) -> str:
    """What a run waits for that finds no place, in words."""
    if s.run is not None and s.run.goes_alone:
        return f"no pod of version {version} is empty: it goes alone, since {s.run.pod_deaths} pods died under it"
    return f"no pod of version {version} has a free slot"


def _show_limits(s: Situation) -> str:
    limits = s.fleet.limits if s.fleet else None
    if limits is None:
        return "unknown"
    tokens = f", maxTokens {limits.max_tokens}" if limits.max_tokens is not None else ""
    return (
        f"maxSteps {limits.max_steps}, activeSeconds {limits.active_seconds}, "
        f"deadlineSeconds {limits.deadline_seconds}, maxAttempts {limits.max_attempts}{tokens}"
    )
