"""The operator's own settings: times, sizes, and the rules that a test may take out.

``__main__`` reads them from the environment; everything else gets them as a value.
"""

from dataclasses import dataclass, field
from typing import Final

RULES: Final = {
    "1": "a run stays in work until the pod itself lists it at its epoch",
    "2": "an end is acked only after the status write is confirmed",
    "3": "no pin while the outcome of a promote is unknown",
    "4": "a new leader lists the fleets before its first write",
    "5": "boot is part of the assignment",
    "6": "a cut poll is not a lost pod",
    "7": "counting to zero waits for assignments in flight and reads consistently",
    "8": "a leader that slept is refused: by preconditions, by its number, by the lease right before each write",
    "9": "waking is a condition on the object, asked at every event",
    "10": "the pod is told first; an end that it reports wins",
    "11": "a listed run whose object is gone is told to end",
    "12": "a pod is spoken to by its uid",
    "13": "a fenced assignment goes on above the journal's epoch",
    "14": "progress resets attempts, disruptions are not charged",
    "15": "a due timer is named in the assignment",
    "16": "a lower resourceVersion never replaces a higher",
    "17": "a death with several runs present charges none; at two a run goes alone",
}
"""The run protocol's rules that live on the operator's side, by number (docs/reference/run-contract.md)."""


@dataclass(frozen=True)
class Settings:
    """Times in seconds, unless named otherwise."""

    park_after_seconds: int = 10  # waits shorter than this stay warm on their pod
    cancel_grace_seconds: int = 30  # an agent's time to end by itself; then its pod commits the end
    silent_seconds: int = 10  # a pod that must end a run and answers nothing for this long is deleted
    unreachable_seconds: int = 30  # a pod neither answering nor Ready for this long is lost
    node_lost_seconds: int = 300  # a deletion that hangs for this long counts as done: its node is gone
    empty_seconds: int = 60  # an empty pod above the floor is kept this long
    count_seconds: float = 2.0  # counts alone are written at most this often per fleet
    report_seconds: int = 30  # progress and Pending reasons are written at most this often, and not before
    poll_seconds: int = 20  # length of a long poll; with call_seconds less than unreachable_seconds (rule 6)
    call_seconds: float = 5.0  # time limit of any other call to a pod
    rejected_seconds: int = 300  # what the API server refuses as invalid is asked for again after this
    run_workers: int = 16  # passes over runs at once
    resync_seconds: int = 300  # every fleet is looked at this often without a trigger
    rules_off: frozenset[str] = field(default=frozenset())  # numbers of RULES taken out; for tests alone

    def has_rule(self, number: str) -> bool:
        """Whether rule `number` of the run protocol is in force."""
        return number not in self.rules_off
