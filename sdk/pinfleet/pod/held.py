"""What a pod knows of one run that takes a slot, and how it lists it."""

from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from pinfleet.pod.actions import Request
from pinfleet.reports import Seen
from pinfleet.wire import EndReason, Offer, Outcome, RunListing, RunState, Wait


@dataclass(slots=True)
class Pending:
    """A claim under way, and the calls that wait for it."""

    offer: Offer
    requests: list[Request]


@dataclass(slots=True)
class Held:
    """One run in a slot: listed until it is acked, and kept until its code has stopped."""

    uid: str
    name: str = ""
    epoch: int = 0  # as listed
    state: RunState = "running"
    steps: int = 0
    waiting_for: tuple[Wait, ...] = ()
    outcome: Outcome | None = None
    journal_epoch: int | None = None
    seen: Seen = field(default_factory=Seen)
    tokens: int = 0  # the journal's count at the claim
    partial: bytes | None = None  # what it leaves at a limit
    is_listed: bool = False
    changed: int = 0  # number of its newest change
    has_code: bool = False  # code of it runs in this process
    pending: Pending | None = None  # the claim under way
    queued: Pending | None = None  # a higher epoch that came meanwhile
    restart: Offer | None = None  # starts once the former code has stopped
    ending: EndReason | None = None  # it was told to end
    grace_until: float | None = None  # then the pod commits the end itself
    is_committing: bool = False
    active_until: float = float("inf")
    deadline: datetime | None = field(default=None)

    @property
    def is_final(self) -> bool:
        """Whether it waits for an ack."""
        return self.is_listed and self.state != "running"

    @property
    def known_epoch(self) -> int:
        """The highest epoch that was offered here and not refused; 0 for code whose run was acked."""
        pending = (claim.offer.epoch for claim in (self.pending, self.queued) if claim)
        return max(self.epoch if self.is_listed else 0, *pending, 0)

    def listing(self) -> RunListing:
        """Return the wire's form."""
        return RunListing(
            uid=self.uid,
            name=self.name,
            epoch=self.epoch,
            state=self.state,
            steps=self.steps,
            waiting_for=self.waiting_for,
            outcome=self.outcome,
            journal_epoch=self.journal_epoch,
            messages_seen=self.seen.messages,
            decisions_seen=self.seen.decisions,
        )


def outcome_of(text: bytes | None) -> Outcome | None:
    """Return the wire's outcome from the journal's text; a cancelled run has none."""
    if text is None or text == b"{}":
        return None
    return msgspec.json.decode(text, type=Outcome)
