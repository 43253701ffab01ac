"""What the pod's machine asks its surroundings to do: a closed union of plain data."""

from collections.abc import Hashable
from dataclasses import dataclass
from http import HTTPStatus

from pinfleet.journal.interface import End
from pinfleet.wire import Accepted, EndReason, Offer, Refusal

Request = Hashable
"""Names a call that waits for its Reply; the driver chooses it, the machine only hands it back."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer a call."""

    request: Request
    status: HTTPStatus
    body: Accepted | Refusal


@dataclass(frozen=True, slots=True)
class Claim:
    """Claim the run in the journal, through its live code's handle if there is one; then ``claimed``."""

    uid: str
    offer: Offer


@dataclass(frozen=True, slots=True)
class Start:
    """Execute the run's code, at the epoch that was claimed."""

    uid: str
    offer: Offer
    steps: int  # the journal's count at the claim
    tokens: int = 0  # likewise
    partial: bytes | None = None  # the newest that the journal holds


@dataclass(frozen=True, slots=True)
class Adopt:
    """The live code goes on under the epoch that was claimed; it takes the offer's limits, timers and messages."""

    uid: str
    offer: Offer


@dataclass(frozen=True, slots=True)
class Update:
    """The same epoch was offered again: the live code takes the offer's timers, messages and decisions."""

    uid: str
    offer: Offer


@dataclass(frozen=True, slots=True)
class Cancel:
    """The code is to see a cancel at its next await and commit the end that the reason asks for; then ``ended``."""

    uid: str
    reason: EndReason


@dataclass(frozen=True, slots=True)
class Drain:
    """The code is to stop at its next step boundary; then ``ended`` with ``drained``."""

    uid: str


@dataclass(frozen=True, slots=True)
class Fence:
    """The code lost the run: stop it, commit nothing; then ``stopped``."""

    uid: str


@dataclass(frozen=True, slots=True)
class CommitEnd:
    """Commit this end in the journal without the code; then ``end_committed``."""

    uid: str
    epoch: int
    end: End


@dataclass(frozen=True, slots=True)
class Wake:
    """The listing changed: answer the long polls."""


Action = Reply | Claim | Start | Adopt | Update | Cancel | Drain | Fence | CommitEnd | Wake
Actions = tuple[Action, ...]
