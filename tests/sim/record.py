"""What happened beside the API server: claims, commits, offers, and every beginning of a step's body."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from pinfleet.journal.interface import Batch, Claim, ClaimResult, CommitResult, Owner
from pinfleet.wire import Offer


@dataclass(frozen=True)
class Claimed:
    """A claim that the journal answered."""

    at: float
    run: str
    epoch: int
    boot: str
    pod: str
    version: str
    status: str


@dataclass(frozen=True)
class Committed:
    """A batch that the journal answered."""

    at: float
    run: str
    epoch: int
    steps: tuple[tuple[str, bytes, int], ...]  # identity, result, attempt
    end: str | None
    parks: bool
    status: str


@dataclass(frozen=True)
class Begun:
    """A step's body began."""

    at: float
    run: str
    name: str
    step: int
    epoch: int
    pod: str
    version: str


@dataclass(frozen=True)
class Offered:
    """An offer reached a pod."""

    at: float
    run: str
    epoch: int
    attempt: int
    end: str | None


@dataclass(frozen=True)
class Booted:
    """A process of a pod began."""

    at: float
    pod: str


@dataclass(frozen=True)
class Removed:
    """An operator deleted a pod that could be reached, while it executed runs that nobody wanted ended."""

    at: float
    pod: str
    runs: tuple[str, ...]  # uids


@dataclass
class Record:
    """In the order of the events."""

    claims: list[Claimed] = field(default_factory=list)
    commits: list[Committed] = field(default_factory=list)
    begun: list[Begun] = field(default_factory=list)
    offers: list[Offered] = field(default_factory=list)
    events: list[Claimed | Committed] = field(default_factory=list)
    removed: list[Removed] = field(default_factory=list)
    boots: list[Booted] = field(default_factory=list)
    on_event: list[Callable[[Claimed | Committed], None]] = field(default_factory=list)
    executions: int = 0  # of the agent's main

    def claimed(self, claim: Claim, result: ClaimResult) -> None:
        """The journal answered a claim."""
        event = Claimed(_now(), claim.run, claim.epoch, claim.boot, claim.pod, claim.version, result.status)
        self.claims.append(event)
        self._note(event)

    def committed(self, owner: Owner, batch: Batch, result: CommitResult) -> None:
        """The journal answered a commit."""
        steps = tuple((str(step.key), step.result, step.attempt) for step in batch.steps if step.is_counted)
        end = batch.end.state if batch.end else None
        event = Committed(_now(), owner.run, owner.epoch, steps, end, batch.parks, result.status)
        self.commits.append(event)
        self._note(event)

    def booted(self, pod: str) -> None:
        """A process of a pod began."""
        self.boots.append(Booted(_now(), pod))

    def offered(self, run: str, offer: Offer) -> None:
        """An offer reached a pod."""
        self.offers.append(Offered(_now(), run, offer.epoch, offer.attempt, offer.end))

    def _note(self, event: Claimed | Committed) -> None:
        self.events.append(event)
        for tell in self.on_event:
            tell(event)

    def steps_begun(self, name: str) -> list[int]:
        """Steps of the run whose bodies began, in order, with repetitions."""
        return [each.step for each in self.begun if each.name == name]


def _now() -> float:
    return asyncio.get_running_loop().time()
