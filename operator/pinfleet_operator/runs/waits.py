"""A run's waits as a pod lists them, as its object holds them, and as the store keeps them. Pure.

Callers: ``runs.patch`` writes `cut` ones, ``runs.judge`` compares `bare` ones with the record's.
"""

import re
from typing import Final

import msgspec

from pinfleet.wire import DECISIONS_LIMIT, NOTHING_SHOWN, SHOWN_LIMIT, WAIT_ID_LIMIT, WAITS_LIMIT, RunListing, Wait
from pinfleet_operator.api.nesting import VALUE_DEPTH_LIMIT, nests_deeper
from pinfleet_operator.api.run import RunRecord, without_shown

SHOWN_TOTAL_LIMIT: Final = 64 * 1024  # bytes of all that one run's approvals show; those that are due first

_HASH: Final = re.compile("[0-9a-f]{64}")


def cut(waits: tuple[Wait, ...]) -> tuple[Wait, ...]:
    """What the schema has room for and takes, the waits that are due first; a pod may list anything."""
    known = sorted(waits, key=lambda wait: (wait.until is None, wait.until or wait.since, wait.id))[:WAITS_LIMIT]
    left, fitting = SHOWN_TOTAL_LIMIT, list[Wait]()
    for wait in known:
        shown = wait.shown if _may_be_shown(bytes(wait.shown), left) else NOTHING_SHOWN
        left -= len(bytes(shown)) if shown is not NOTHING_SHOWN else 0
        fitting.append(
            Wait(
                id=wait.id[:WAIT_ID_LIMIT],
                kind=wait.kind,
                name=wait.name[:WAIT_ID_LIMIT],
                until=wait.until,
                since=wait.since,
                hash=wait.hash if _HASH.fullmatch(wait.hash) else "",
                shown=shown,
                who=wait.who[:WAIT_ID_LIMIT],
            )
        )
    return tuple(fitting)


def bare(waits: tuple[Wait, ...]) -> tuple[Wait, ...]:
    """The same as the store's record of the run has them once they are written."""
    return without_shown(cut(waits))


def is_told(run: RunRecord, listing: RunListing) -> bool:
    """Whether the object says of a running run what its pod does."""
    seen = (run.steps, run.messages_seen, run.decisions_seen)
    listed = (listing.steps, listing.messages_seen, hashes(listing.decisions_seen))
    return seen == listed and bare(listing.waiting_for) == run.waiting_for


def asks_anew(run: RunRecord, listing: RunListing) -> bool:
    """Whether the run waits for a decision that its object does not show yet: nobody could make it."""
    known = {wait.hash for wait in run.waiting_for}
    return any(wait.kind == "Approval" and wait.hash not in known for wait in bare(listing.waiting_for))


def hashes(listed: tuple[str, ...]) -> tuple[str, ...]:
    """The latest of the listed hashes, as the schema takes them."""
    return tuple(each for each in listed if _HASH.fullmatch(each))[-DECISIONS_LIMIT:]


def _may_be_shown(shown: bytes, left: int) -> bool:
    if len(shown) > min(left, SHOWN_LIMIT) or nests_deeper(shown, VALUE_DEPTH_LIMIT):
        return False
    try:
        return isinstance(msgspec.json.decode(shown), dict)
    except (msgspec.MsgspecError, UnicodeError):  # a pod's answer is read without looking into it
        return False
