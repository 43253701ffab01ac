"""The status that each action writes on a run, as a JSON merge patch. Pure.

One patch per action, with the resourceVersion that the decision was made on: the API server answers 409 if anything
changed since. A key with null is removed from the object.
"""

from datetime import datetime, timedelta
from typing import Final

import msgspec

from pinfleet.wire import WAITS_LIMIT, RunListing, Wait
from pinfleet_operator.api import keys
from pinfleet_operator.api.nesting import VALUE_DEPTH_LIMIT, nests_deeper
from pinfleet_operator.api.run import RESULT_LIMIT_BYTES, Limits, RunRecord, StampedLimits
from pinfleet_operator.runs.judge.situation import Assign, Report, WriteEnd, WriteHeld, WriteParked, WritePending
from pinfleet_operator.runs.place import Seat
from pinfleet_operator.runs.waits import cut, hashes

MESSAGE_LIMIT: Final = 1024  # characters of status.message; the schema's bound

Waits = tuple[Wait, ...]
Value = str | int | bool | datetime | msgspec.Raw | StampedLimits | tuple[str, ...] | Waits | list["Body"] | None
Body = dict[str, "Value"]


def encode(run: RunRecord, status: Body) -> bytes:
    """The merge patch's bytes: `status`, fenced by the run's resourceVersion."""
    return msgspec.json.encode({"metadata": {"resourceVersion": str(run.resource_version)}, "status": status})


def encode_operations(run: RunRecord, status: Body) -> bytes:
    """The same as a JSON patch, for a result with null members, which a merge would delete (decision 0003)."""
    fence = {"op": "replace", "path": "/metadata/resourceVersion", "value": str(run.resource_version)}
    known = {key: value for key, value in status.items() if value is not None}
    sets = [{"op": "add", "path": f"/status/{key}", "value": value} for key, value in known.items()]
    return msgspec.json.encode([fence, *sets])


def holds_null(result: object) -> bool:
    """Whether an object somewhere in a decoded result has a null member."""
    left = [result]  # no recursion: a result may nest as deep as the stack
    while left:
        match left.pop():
            case dict() as members if None in members.values():
                return True
            case dict() as members:
                left += members.values()
            case list() as items:
                left += items
    return False


def why_refused(result: bytes) -> str | None:
    """What keeps a result from being stored, before the API server is asked; None: nothing."""
    if len(result) > RESULT_LIMIT_BYTES:
        return f"it has {len(result)} bytes, {RESULT_LIMIT_BYTES} are allowed"
    if nests_deeper(result, VALUE_DEPTH_LIMIT):
        return f"it nests deeper than {VALUE_DEPTH_LIMIT} levels"
    try:
        msgspec.json.decode(result)
    except (msgspec.MsgspecError, UnicodeError) as err:  # a pod's answer is read without looking into its results
        return f"it is no JSON: {err}"
    return None


def pin(run: RunRecord, version: str, limits: Limits, now: datetime) -> Body:
    """An explicit version, judged when first observed."""
    return {
        "phase": "Pending",
        "version": version,
        "limits": limits.stamped,
        "deadlineAt": run.created_at + timedelta(seconds=limits.deadline_seconds),
        **_told(run, now, keys.NO_FREE_SLOT, f"pinned to {version}; waits for a free slot"),
    }


def assignment(run: RunRecord, action: Assign, seat: Seat, limits: Limits, steps: int, now: datetime) -> Body:
    """Pin and pod in one write; the epoch rises above all that is known."""
    return {
        "phase": "Running",
        "version": action.version,
        "pod": seat.pod.name,
        "podUID": seat.pod.uid,
        "boot": seat.mirror.boot if seat.mirror else None,
        "epoch": max(run.epoch, action.above_epoch) + 1,
        "attempts": action.attempts,
        "podDeaths": action.pod_deaths or None,
        "limits": limits.stamped,
        "steps": steps,
        "stepsAtAttempt": steps,
        "timersFired": action.wake[:WAITS_LIMIT],
        "assignedAt": now,
        "deadlineAt": run.deadline_at or run.created_at + timedelta(seconds=limits.deadline_seconds),
        "startedAt": run.started_at or now,
        "parkedAt": None,
        "activeSeconds": active_seconds(run, now),
        **_told(run, now, keys.ASSIGNED, action.message),
    }


def parked(run: RunRecord, action: WriteParked, now: datetime) -> Body:
    """It waits; no pod holds it."""
    listing = action.listing
    first = min((wait.until for wait in listing.waiting_for if wait.until is not None), default=None)
    kinds = ", ".join(f"{wait.kind} {wait.name}".strip() for wait in listing.waiting_for)
    words = f"waits for {kinds or 'nothing known'}"
    return {
        "phase": "Parked",
        "pod": None,
        "podUID": None,
        "boot": None,
        "waitingFor": cut(listing.waiting_for),
        "timersFired": None,
        **seen(listing),
        "parkedAt": now,
        "steps": listing.steps,
        **_cleared(run, listing),
        "activeSeconds": active_seconds(run, now),
        **_told(run, now, keys.WAITING, f"{words}, next at {first:%Y-%m-%dT%H:%M:%SZ}" if first else words),
    }


def pending(run: RunRecord, action: WritePending, steps: int, now: datetime) -> Body:
    """It lost its pod and has no other yet; podUID stays, so that the next pod learns who held it."""
    return {
        "phase": "Pending",
        "pod": None,
        "boot": None,
        "attempts": action.attempts,
        "podDeaths": action.pod_deaths or None,
        "steps": steps,
        "activeSeconds": active_seconds(run, now),
        **_told(run, now, action.reason, action.message),
    }


def held(run: RunRecord, action: WriteHeld, now: datetime) -> Body:
    """It cannot be resumed safely."""
    error = action.listing.outcome.error if action.listing.outcome else None
    return {
        "phase": "Held",
        "pod": None,
        "boot": None,
        "steps": max(run.steps, action.listing.steps),
        "activeSeconds": active_seconds(run, now),
        **_told(run, now, keys.INCOMPATIBLE, error.message if error else "its state does not fit this code"),
    }


def end(run: RunRecord, action: WriteEnd, now: datetime) -> Body:
    """A terminal phase, with the result, or what a run that hit a limit leaves, if there is one."""
    listing = action.listing
    may_have = action.phase == "Succeeded" or (listing is not None and listing.state == "limit")
    result = listing.outcome.result if may_have and listing and listing.outcome else None
    succeeded = "True" if action.phase == "Succeeded" else "False"
    return {
        "phase": action.phase,
        "result": result if result and action.reason != keys.RESULT_REFUSED else None,
        "steps": max(run.steps, listing.steps if listing else 0),
        "waitingFor": (),
        "endedAt": now,
        "activeSeconds": active_seconds(run, now),
        **_told(run, now, action.reason, action.message, succeeded=succeeded),
    }


def report(run: RunRecord, action: Report, now: datetime) -> Body:
    """Progress, or why it waits; nothing else changes."""
    body = _told(run, now, action.reason, action.message)
    body["phase"] = run.phase
    if action.listing is not None:
        body.update(progress(run, action.listing))
    return body


def progress(run: RunRecord, listing: RunListing) -> Body:
    """Steps and waits of a running run; more steps than at the claim clear its attempts (rule 14)."""
    body: Body = {
        "steps": listing.steps,
        "waitingFor": cut(listing.waiting_for),
        **seen(listing),
        **_cleared(run, listing),
    }
    if listing.steps > run.steps_at_attempt:
        body["attempts"] = 1
    return body


def seen(listing: RunListing) -> Body:
    """What the run's journal holds of what was sent to it."""
    return {"messagesSeen": listing.messages_seen, "decisionsSeen": hashes(listing.decisions_seen)}


def _cleared(run: RunRecord, listing: RunListing) -> Body:
    """A run that recorded a step on a pod of its own has shown that it does not kill its pods (rule 17)."""
    return {"podDeaths": None} if run.goes_alone and listing.steps > run.steps_at_attempt else {}


def active_seconds(run: RunRecord, now: datetime) -> int:
    """Wall clock on pods so far, this execution's included."""
    if run.phase != "Running" or run.assigned_at is None:
        return run.active_seconds
    return run.active_seconds + max(0, round((now - run.assigned_at).total_seconds()))


def _told(run: RunRecord, now: datetime, reason: str, message: str, *, succeeded: str = "Unknown") -> Body:
    short = message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"
    since = run.reason_since if run.reason == reason and run.reason_since is not None else now
    condition: Body = {
        "type": keys.SUCCEEDED,
        "status": succeeded,
        "reason": reason,
        "message": short,
        "observedGeneration": run.generation,
        "lastTransitionTime": since,
    }
    return {"reason": reason, "message": short, "observedGeneration": run.generation, "conditions": [condition]}
