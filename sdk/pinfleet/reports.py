"""What the pod gives an execution, and what the execution tells the pod: plain data between the two."""

from dataclasses import dataclass
from typing import Protocol

from pinfleet.rules import Rules
from pinfleet.wire import RunState, Wait


@dataclass(frozen=True, slots=True)
class Assignment:
    """What an offer says that the code's execution needs."""

    uid: str
    name: str
    epoch: int
    input: bytes  # JSON text
    max_steps: int
    timers_fired: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where runs are executed: what is the same for all runs of a pod."""

    version: str
    pod_uid: str
    park_after_seconds: float
    cancel_grace_seconds: float
    rules: Rules


@dataclass(frozen=True, slots=True)
class Ended:
    """What an execution reports when it is over on this pod."""

    uid: str
    epoch: int
    state: RunState
    steps: int
    outcome: bytes | None = None  # JSON text of wire.Outcome
    waiting_for: tuple[Wait, ...] = ()
    journal_epoch: int | None = None  # when fenced


class Reporter(Protocol):
    """Hears what becomes of an execution; callable from the author's loop."""

    def progressed(self, uid: str, epoch: int, steps: int, waiting_for: tuple[Wait, ...]) -> None:
        """More steps are committed, or the waits changed."""

    def ended(self, ended: Ended) -> None:
        """The run is over here; its code may still run."""

    def stopped(self, uid: str) -> None:
        """No code of it runs any more."""
