"""What the pod gives an execution, and what the execution tells the pod: plain data between the two."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from pinfleet.rules import Rules
from pinfleet.wire import Decision, InboxMessage, Offer, RunState, Wait


@dataclass(frozen=True, slots=True)
class News:
    """What an offer brings to a run, whether it starts with it or lives already."""

    timers_fired: tuple[str, ...] = ()
    messages: tuple[InboxMessage, ...] = ()
    decisions: tuple[Decision, ...] = ()
    previous_gone: bool = True  # whether no process that had the run before can act any more


def news_of(offer: Offer) -> News:
    """Return what an offer brings."""
    gone = offer.previous is None or offer.previous.is_gone
    return News(offer.timers_fired, offer.messages, offer.decisions, gone)


@dataclass(frozen=True, slots=True)
class Assignment:
    """What an offer says that the code's execution needs."""

    uid: str
    name: str
    epoch: int
    input: bytes  # JSON text
    max_steps: int
    requester: str = ""  # who asked for the run; may not approve what it asks
    partial: bytes | None = None  # the newest that the journal holds
    news: News = News()


class Trace(Protocol):
    """Hears what code does, as it does it: for a local trace and for tests. It must be quick and may not fail."""

    def __call__(self, event: str, run: str, **values: object) -> None:
        """Hear of one event of a run: ``step``, ``sent`` (before a tool's function runs) or ``emit``."""


def silent(event: str, run: str, **values: object) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where runs are executed: what is the same for all runs of a pod."""

    version: str
    pod_uid: str
    park_after_seconds: float
    cancel_grace_seconds: float
    rules: Rules
    trace: Trace = silent
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep  # between two tries


@dataclass(frozen=True, slots=True)
class Seen:
    """What a run's journal holds of what people sent, so that it need not be offered again."""

    messages: int = 0
    decisions: tuple[str, ...] = ()  # hashes


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an execution is."""

    steps: int
    waiting_for: tuple[Wait, ...] = ()
    seen: Seen = Seen()
    partial: bytes | None = None  # JSON of what a run that hits a limit leaves


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
    seen: Seen = Seen()


class Reporter(Protocol):
    """Hears what becomes of an execution; callable from the author's loop."""

    def progressed(self, uid: str, epoch: int, progress: Progress) -> None:
        """More steps are committed, or the waits changed, or something was received."""

    def ended(self, ended: Ended) -> None:
        """The run is over here; its code may still run."""

    def stopped(self, uid: str) -> None:
        """No code of it runs any more."""
