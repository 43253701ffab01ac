"""The run protocol's messages: what operator and agent pod say to each other over HTTP.

Both ends import this module and nothing else of each other. It holds shapes and names, no sockets and no decisions.
Prose and an OpenAPI file stand in ``docs/reference/run-contract.md``. Field names on the wire are camelCase; unknown
fields are ignored, so that an older end reads a newer one. Times are RFC 3339 in UTC.
"""

from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec

PROTOCOL: Final = 1
"""The version of this protocol; every answer carries it."""

POD_HEADER: Final = "Pinfleet-Pod"
"""Uid of the pod that the caller means; a pod with another uid answers 421 ``wrong_pod``."""

LEADER_HEADER: Final = "Pinfleet-Leader"
"""The caller's leaseTransitions; one lower than the highest seen is answered 409 ``stale_leader`` with that number."""

Count = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 2)]
"""An epoch, a number of steps, a leader's number: each is stored as an int32, and so is the next one above it."""

Change = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""Number of a change in a pod's listing; JSON readers hold it exactly."""

Tokens = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]
"""Tokens of models, over a run's whole life."""

WAITS_LIMIT: Final = 256
"""Most waits that a listing has room for: those that are due first."""

WAIT_ID_LIMIT: Final = 512
"""Most characters of a wait's id, of its name, and of who may decide."""

SHOWN_LIMIT: Final = 2048
"""Most bytes of what an approval shows."""

NOTHING_SHOWN: Final = msgspec.Raw(b"{}")

DECISIONS_LIMIT: Final = 256
"""Most hashes in ``decisionsSeen``: the latest."""

RunState = Literal[
    "running", "parked", "succeeded", "failed", "cancelled", "limit", "drained", "fenced", "incompatible"
]
"""What a pod says of a run that it lists. All but ``running`` are final on this pod and wait for an ack."""

WaitKind = Literal["Timer", "Approval", "Message", "Code"]
"""What a run waits for. ``Code`` is something that only the process knows; it keeps the run on its pod."""

EndReason = Literal["cancel", "deadline", "active", "attempts", "deleted", "superseded"]
"""Why the operator ends a run.

``attempts`` comes in an offer alone: the run's executions kept dying, it ends failed unless its journal holds an end.

``superseded`` ends an execution, not the run: another pod has it, or it is parked. The pod stops it at its next step
boundary, commits no outcome, and lists it as ``drained``.
"""

ErrorCode = Literal[
    "bad_request",  # 400: the body does not fit; message says which field
    "unauthorized",  # 401: no bearer token that this pod knows
    "wrong_pod",  # 421: the address belongs to another pod; value is this pod's uid
    "wrong_version",  # 421: the offer is for another version; value is this pod's version
    "stale_epoch",  # 409: this pod or the journal knows a higher epoch; value is that epoch
    "stale_leader",  # 409: a newer leader has called; value is its leaseTransitions
    "still_running",  # 409: an ack for a run that has not ended here
    "unknown_run",  # 404: a DELETE for a run that this pod does not hold
    "full",  # 429: every slot is taken; value is the capacity
    "draining",  # 503: the pod takes no new runs
    "journal_unavailable",  # 503: the database does not answer; nothing was claimed
]


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of the wire's messages: immutable, keyword-only, camelCase on the wire."""


class Wait(Message, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that a run waits for."""

    id: str  # stable identity of the wait within its run; at most WAIT_ID_LIMIT characters
    kind: WaitKind
    name: str = ""  # what the author called it
    until: datetime | None = None  # when a timer is due or an approval expires; None: no end
    since: datetime | None = None  # when the waiting began
    hash: str = ""  # of an approval: the request's hash, which a decision must name
    shown: msgspec.Raw = NOTHING_SHOWN  # of an approval: JSON object that code rendered for people
    who: str = ""  # of an approval: who may decide, in words for people


class Failure(Message, frozen=True, kw_only=True):
    """Why a run failed, in the author's terms."""

    type: str  # the exception's class name
    message: str


class Outcome(Message, frozen=True, kw_only=True, omit_defaults=True):
    """How a run ended: one field is set, and beside a limit the partial result; a JSON null is the text ``null``."""

    result: msgspec.Raw = msgspec.Raw()  # JSON text of the returned value; empty: not set (Raw | None does not decode)
    error: Failure | None = None
    limit: Literal["steps", "tokens", "active", "deadline"] | None = None


class RunListing(Message, frozen=True, kw_only=True, omit_defaults=True):
    """One run in a pod's answer; it stays listed until its end or park is acked."""

    uid: str
    name: str = ""  # the run's name, as offered; with it the operator finds the object of a uid that it does not know
    epoch: Count
    state: RunState
    steps: Count = 0  # steps committed in the journal, over all epochs
    waiting_for: tuple[Wait, ...] = ()  # at most WAITS_LIMIT
    outcome: Outcome | None = None
    journal_epoch: Count | None = None  # when fenced: the epoch that the journal knows
    messages_seen: Count = 0  # messages in the run's journal, over all epochs; of a parked run: when it parked
    decisions_seen: tuple[str, ...] = ()  # hashes of recorded decisions, the latest DECISIONS_LIMIT; likewise


class Identity(Message, frozen=True, kw_only=True):
    """Who answers; part of every answer."""

    protocol: int
    version: str
    pod_uid: str = msgspec.field(name="podUID")
    boot: str  # random per process start


class StateAnswer(Identity, frozen=True, kw_only=True):
    """Answer of ``GET /state``: the runs changed after the asked number, or all of them when ``full``."""

    n: Change  # number of the newest change in this answer
    capacity: Count  # most runs held at once, listed and not acked
    draining: bool = False
    full: bool = False
    runs: tuple[RunListing, ...] = ()


class Accepted(Identity, frozen=True, kw_only=True):
    """Answer of an accepted offer (202), ack (200), or end (202): the change is part of ``/state`` from ``n`` on."""

    n: Change


class Refusal(Identity, frozen=True, kw_only=True):
    """Body of every 4xx and 5xx answer."""

    code: ErrorCode
    message: str
    value: Count | str | None = None


class InboxMessage(Message, frozen=True, kw_only=True):
    """One message to a run; the same id again is the same message."""

    id: str
    body: msgspec.Raw  # any JSON


class Decision(Message, frozen=True, kw_only=True):
    """What a person decided on an approval that the run asked for."""

    hash: str  # of the request, as the run's wait showed it
    decision: Literal["approved", "denied"]
    by: str  # who decided
    via: str = ""  # who passed it on, if `by` did not write it into the cluster
    comment: str = ""
    at: datetime  # by the API server's clock; before the request's expiry


class OfferLimits(Message, frozen=True, kw_only=True, omit_defaults=True):
    """What the run may still use."""

    max_steps: Count  # total over all epochs, against the journal's count
    active_seconds_left: float
    max_tokens: Tokens | None = None  # total over all epochs, against what recorded steps used; None: no bound


class Previous(Message, frozen=True, kw_only=True):
    """The pod that held the run before."""

    pod_uid: str = msgspec.field(name="podUID")
    is_gone: bool  # True only if its pod object is gone or terminal: no process of it can act any more


class Offer(Message, frozen=True, kw_only=True):
    """Body of ``PUT /runs/{uid}``: take this run at this epoch."""

    name: str
    version: str
    epoch: Count
    attempt: Count
    limits: OfferLimits
    input: msgspec.Raw = msgspec.Raw(b"null")  # any JSON
    requester: str = ""  # who asked for the run; "": nobody is named
    messages: tuple[InboxMessage, ...] = ()  # in order, from the first one not known as seen
    decisions: tuple[Decision, ...] = ()  # those not known as seen
    deadline: datetime | None = None
    steps: Count = 0  # at least so many are in the run's journal; 0: nothing is known, or the journal goes with its pod
    timers_fired: tuple[str, ...] = ()  # ids of waits that the operator saw due
    previous: Previous | None = None
    end: EndReason | None = None  # claim the run and end it without executing: its former pod is lost
