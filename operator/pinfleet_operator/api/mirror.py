"""What the operator knows of a pod from the pod's own answers.

``runs.dispatch`` keeps it up to date, the store holds it, ``runs.judge``, ``runs.place`` and ``plan`` read it. It is a
memory of the last answers, never a truth of its own: a new process starts without one and asks.
"""

from dataclasses import dataclass, field
from datetime import datetime

from pinfleet.wire import RunListing


@dataclass(kw_only=True)
class PodMirror:
    """A pod's last answers."""

    pod_uid: str
    version: str  # id of the version that its server says it is
    boot: str  # random per process start
    n: int  # number of the newest change that the mirror holds
    capacity: int  # most runs that it holds at once
    draining: bool = False
    answered_at: datetime  # last answer, by the API server's clock
    failing_since: datetime | None = None  # first failed call since the last answer; None: it answers
    refuses: bool = False  # it refused an offer (421, 429, 503); no more until its next answer
    runs: dict[str, RunListing] = field(default_factory=dict)  # by run uid
    accepted: dict[str, tuple[int, int]] = field(default_factory=dict)  # run uid -> (epoch, n) of our last 202
    forgotten: dict[str, int] = field(default_factory=dict)  # run uid -> n of our last ack

    @property
    def has_answered(self) -> bool:
        """Whether this process ever got an answer; before, only failures are known."""
        return self.boot != ""

    def has_seen(self, uid: str, epoch: int) -> bool | None:
        """Whether the pod holds the run at `epoch`; None: a newer answer is needed to tell."""
        listing = self.runs.get(uid)
        if listing is not None and listing.epoch == epoch:
            return True
        accepted = self.accepted.get(uid)
        if accepted is not None and accepted[0] == epoch and self.n < accepted[1]:
            return None
        return False
