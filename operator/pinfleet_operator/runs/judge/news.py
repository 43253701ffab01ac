"""What people and programs sent to a run that it has not recorded yet: messages, decisions. Pure; ``judge`` asks it."""

from datetime import datetime, timedelta

import msgspec

from pinfleet.wire import RunListing, Wait
from pinfleet_operator.api.approval import answers
from pinfleet_operator.runs.judge.situation import SendOffer, Situation, Verdict, WriteParked


def has_news(s: Situation, waits: tuple[Wait, ...], messages_seen: int, decisions_seen: tuple[str, ...]) -> bool:
    """Whether there is a message, or a decision on what the run waits for, that it has not seen.

    Args:
        s: how things stand.
        waits: what the run waits for.
        messages_seen: number of messages in its journal.
        decisions_seen: hashes of the decisions in its journal.
    """
    if s.run is None:
        return False
    return s.run.messages > messages_seen or answers(waits, decisions_seen, s.decisions)


def update(s: Situation, own: RunListing) -> Verdict | None:
    """A running run gets what is new by an offer at the same epoch, again and again until its pod lists it as seen."""
    if not has_news(s, own.waiting_for, own.messages_seen, own.decisions_seen):
        return None
    if s.next_update_at is not None and s.next_update_at > s.now:
        return Verdict(again_at=s.next_update_at)
    return Verdict((SendOffer(),))


def park(s: Situation, own: RunListing) -> WriteParked:
    """The park, with what the run had seen when it parked: whatever came beside it wakes the run (rule 9)."""
    if s.run is None or s.settings.has_rule("9"):
        return WriteParked(own)
    seen = tuple(each.hash for each in s.decisions)
    return WriteParked(msgspec.structs.replace(own, messages_seen=s.run.messages, decisions_seen=seen))


def pause_after(times: int, at: datetime, longest_seconds: int) -> datetime:
    """When something that was done so many times without effect is done again."""
    return at + timedelta(seconds=min(longest_seconds, 2 ** (times - 1)))
