"""What bounds a run: its limits, its deadline, its attempts. Pure; ``judge`` asks it."""

from datetime import datetime, timedelta

from pinfleet.wire import EndReason
from pinfleet_operator.api import keys
from pinfleet_operator.api.run import Limits, Phase, RequestedLimits, RunRecord
from pinfleet_operator.runs.judge.situation import Situation

BACKOFF_CEILING_SECONDS = 60


def merge(fleet: Limits, asked: RequestedLimits | None) -> Limits | None:
    """The limits that a run gets; None: it asks for more than the fleet allows."""
    if asked is None:
        return fleet
    merged = Limits(
        max_steps=asked.max_steps or fleet.max_steps,
        active_seconds=asked.active_seconds or fleet.active_seconds,
        deadline_seconds=asked.deadline_seconds or fleet.deadline_seconds,
        max_attempts=asked.max_attempts or fleet.max_attempts,
        max_tokens=asked.max_tokens or fleet.max_tokens,
    )
    names = ("max_steps", "active_seconds", "deadline_seconds", "max_attempts", "max_tokens")
    pairs = ((getattr(merged, name), getattr(fleet, name)) for name in names)
    return merged if all(most is None or (own is not None and own <= most) for own, most in pairs) else None


def deadline(run: RunRecord, fleet: Limits | None) -> datetime | None:
    """When the run must have ended; None: it is not pinned and its fleet is unknown."""
    if run.deadline_at is not None:
        return run.deadline_at
    limits = run.limits or (merge(fleet, run.requested_limits) if fleet else None)
    return run.created_at + timedelta(seconds=limits.deadline_seconds) if limits else None


def active_until(run: RunRecord) -> datetime | None:
    """When the run has used up its time on pods; None: it is on none, or has no limits yet."""
    if run.phase != "Running" or run.limits is None or run.assigned_at is None:
        return None
    return run.assigned_at + timedelta(seconds=run.limits.active_seconds - run.active_seconds)


def ending(s: Situation) -> EndReason | None:
    """Why the run must end now; None: it need not."""
    run = s.run
    if run is None:
        return "deleted"
    if run.cancel or run.unfit_message or (s.fleet is not None and s.fleet.cancels_runs):
        return "cancel"
    until = deadline(run, s.fleet.limits if s.fleet else None)
    if until is not None and until <= s.now:
        return "deadline"
    until = active_until(run)
    if until is not None and until <= s.now:
        return "active"
    is_exhausted = run.limits is not None and run.attempts > run.limits.max_attempts
    return "attempts" if is_exhausted else None


def end_of(s: Situation, reason: EndReason) -> tuple[Phase, str, str]:
    """How a run ends for a reason of the operator's: phase, reason, message."""
    match reason:
        case "cancel" if s.run is not None and s.run.cancel:
            return "Cancelled", keys.CANCELLED, "cancelled by spec.cancel"
        case "cancel" if s.run is not None and s.run.unfit_message:
            return "Failed", keys.UNFIT_MESSAGE, s.run.unfit_message
        case "cancel":
            return "Cancelled", keys.FLEET_DELETED, "the fleet is being deleted"
        case "deadline":
            until = deadline(s.run, s.fleet.limits if s.fleet else None) if s.run else None
            return "TimedOut", keys.DEADLINE, f"the deadline {until:%Y-%m-%dT%H:%M:%SZ} passed" if until else ""
        case "active":
            return "TimedOut", keys.ACTIVE_SECONDS, "the time on pods that limits.activeSeconds allows is used up"
        case "attempts":
            return "Failed", keys.ATTEMPTS_EXHAUSTED, s.run.message if s.run else ""
    return "Cancelled", keys.CANCELLED, ""


def due_timers(s: Situation) -> tuple[str, ...]:
    """Ids of the run's timers that the operator saw due; the assignment names them (rule 15)."""
    if s.run is None:
        return ()
    due = {wait.id for wait in s.run.waiting_for if wait.until is not None and wait.until <= s.now}
    return tuple(sorted(due.union(s.run.timers_fired)))


def next_bound(s: Situation) -> datetime | None:
    """When a bound of the run comes next; None: none can."""
    if s.run is None:
        return None
    bounds = (deadline(s.run, s.fleet.limits if s.fleet else None), active_until(s.run))
    return min((at for at in bounds if at is not None and at > s.now), default=None)


def earliest(*times: datetime | None) -> datetime | None:
    """The first of some times; None: there is none."""
    return min((at for at in times if at is not None), default=None)


def steps_known(s: Situation) -> int:
    """Most steps that anybody reported of the run."""
    steps = s.run.steps if s.run else 0
    return max(steps, s.steps_heard)


def next_attempt(s: Situation, *, is_charged: bool) -> int:
    """The number of the next execution that counts toward ``maxAttempts`` (rule 14)."""
    if s.run is None:
        return 1
    if s.settings.has_rule("14") and steps_known(s) > s.run.steps_at_attempt:
        return 1
    return s.run.attempts + 1 if is_charged or not s.settings.has_rule("14") else max(1, s.run.attempts)


def next_deaths(s: Situation, *, is_shared: bool) -> int:
    """Deaths of shared pods that will stand behind the run; a step recorded alone clears the earlier ones (rule 17)."""
    if s.run is None:
        return 0
    before = 0 if s.run.goes_alone and steps_known(s) > s.run.steps_at_attempt else s.run.pod_deaths
    return before + 1 if is_shared else before


def retry_at(run: RunRecord, attempt: int) -> datetime:
    """When a charged attempt may begin: 1, 2, 4 ... 60 s after the assignment that died."""
    wait = min(BACKOFF_CEILING_SECONDS, 2 ** max(0, min(attempt, 8) - 2))
    return (run.assigned_at or run.created_at) + timedelta(seconds=wait)
