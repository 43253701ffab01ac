"""What this process remembers of a run between passes: hints that a new process does without."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from pinfleet_operator.runs.judge.situation import Refused, Told
from pinfleet_operator.runs.waiters import Line


@dataclass(frozen=True)
class Tried:
    """What a run was given, or woken for, how often, and when last."""

    messages: int  # all that the object held
    decisions: frozenset[str]  # hashes
    up_to: int  # messages that were sent; an offer has not room for any number
    at: datetime
    times: int = 1

    def after(self, before: "Tried | None") -> "Tried":
        """The same, counted: done once more if nothing is new."""
        if before is None or (before.messages, before.decisions, before.up_to) != (
            self.messages,
            self.decisions,
            self.up_to,
        ):
            return self
        return replace(self, times=before.times + 1)


@dataclass(slots=True)
class RunMemory:
    """Hints on one run; losing them costs a delay or one more write, never a run."""

    seen_at: datetime  # when this process first saw the run
    reported_at: datetime  # last progress or reason write, or seen_at
    told: tuple[Told, ...] = ()  # our DELETEs, one for each pod and epoch
    lost_since: datetime | None = None  # since when it is seen without a pod that could take it
    offers: int = 0  # accepted by its pod at this epoch
    offered_at: datetime | None = None  # the last of them
    offer_refused: Refused | None = None  # its pod's standing refusal of the offer
    write_refused: Refused | None = None  # the API server's standing refusal of what is to be written
    refused_generation: int = 0  # of the object then
    invited: Line | None = None  # it was told of a free slot, as one that waits in this line
    offered: "Tried | None" = None  # messages and decisions that its pod was sent at this epoch
    woken: "Tried | None" = None  # those that it was last woken for
    above_epoch: int = 0  # epoch that a refused offer named
    steps: int = 0  # most steps that a pod reported; it outlives the pod
    previous_pod: str | None = None  # uid of the pod that held it before the current one
    is_absent: bool = False  # a consistent GET did not find its uid
    failures: int = 0  # passes in a row that failed

    def note_told(self, told: Told) -> None:
        """A DELETE is sent, or delivered; the first attempt says since when."""
        key = (told.pod_uid, told.epoch)
        known = next((each for each in self.told if (each.pod_uid, each.epoch) == key), told)
        told = replace(told, at=known.at, is_delivered=known.is_delivered or told.is_delivered)
        self.told = (*(each for each in self.told if each is not known), told)

    def assigned(self, previous_pod: str | None) -> None:
        """A new assignment is written: what was known of the old one is void."""
        self.previous_pod = previous_pod
        self.told = ()
        self.lost_since = None
        self.above_epoch = 0
        self.offer_refused = None
        self.offers, self.offered_at, self.offered = 0, None, None


class Memory:
    """Hints on every run that is worked on."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._runs: dict[str, RunMemory] = {}
        self._now = now

    def of(self, uid: str) -> RunMemory:
        """The run's hints, made when first asked for."""
        found = self._runs.get(uid)
        if found is None:
            seen = self._now()
            found = self._runs[uid] = RunMemory(seen_at=seen, reported_at=seen)
        return found

    def forget(self, uid: str) -> None:
        """The run is gone."""
        self._runs.pop(uid, None)
