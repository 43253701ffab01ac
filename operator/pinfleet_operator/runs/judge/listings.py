"""What pods list of a run beside its current execution: stale ones are ended, ended ones are acked (rules 2 and 11)."""

from pinfleet.wire import EndReason
from pinfleet_operator.runs.judge.situation import Ack, Action, ConfirmAbsent, Listed, Situation, Tell


def settle_listings(s: Situation) -> tuple[Action, ...]:
    """Acks and ends for listings that are not the run's current execution."""
    if s.run is None:
        return _settle_absent(s)
    return tuple(action for each in s.listed if (action := _settle(s, each)) is not None)


def _settle_absent(s: Situation) -> tuple[Action, ...]:
    if not s.listed or not s.settings.has_rule("11"):
        return ()
    if not s.is_absent:
        first = s.listed[0]
        return (ConfirmAbsent(first.listing.name, first.pod_uid),)
    found = (_tell_once(s, each, "deleted") if each.listing.state == "running" else _ack(each) for each in s.listed)
    return tuple(action for action in found if action is not None)


def _settle(s: Situation, each: Listed) -> Action | None:
    """One listing of a run that exists: stale, or its own (None)."""
    run, listing = s.run, each.listing
    if run is None or listing.epoch > run.epoch:
        return None
    is_current = listing.epoch == run.epoch and each.pod_uid == run.pod_uid and run.phase == "Running"
    if is_current:
        return None
    if listing.state != "running":
        return _ack(each)
    if run.is_open and run.phase == "Running" and s.own is None:
        return None  # the current assignment is not claimed yet: ending the old execution now could end the run
    return _tell_once(s, each, "superseded" if run.is_open else "deleted")


def _ack(each: Listed) -> Ack:
    return Ack(each.pod_uid, each.listing.epoch)


def _tell_once(s: Situation, each: Listed, reason: EndReason) -> Tell | None:
    told = s.told_of(each.pod_uid, each.listing.epoch)
    return None if told is not None and told.is_delivered else Tell(each.pod_uid, each.listing.epoch, reason)
