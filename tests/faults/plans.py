"""Fault plans, generated from the calls of an undisturbed run. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tests.faults.calls import Call

KILLS: Final = ("kill-before", "kill-during", "kill-after")
"""The operator dies; every single write meets each of them."""

OF_WRITES: Final = (
    "lost-answer",
    "delay",
    "duplicate",
    "overtaken",
    "conflict",
    "gone",
    "invalid",
    "throttled",
    "failed",
    "reset",
    "frozen",
)
"""What else may happen to a write, or to the watch that would show it."""

OF_POD_CALLS: Final = (
    *KILLS,
    "lost-answer",
    "delay",
    "duplicate",
    "overtaken",
    "failed",
    "reset",
    "unavailable",
)
OF_POLLS: Final = ("cut-answer", "delay", "duplicate", "reset", "unavailable")
POLLS: Final = (1, 4, 8)  # the how many of a pod's polls
WATCHED: Final = frozenset({"agentdeployments", "agentversions", "agentruns", "pods"})
OF_WATCHES: Final = frozenset({"gone", "frozen", "hung"})
OUTAGE: Final = "outage"


@dataclass(frozen=True)
class Plan:
    """One fault, at one call of the scenario."""

    fault: str  # of `harm.HARM`
    call: Call
    ordinal: int  # the how many of its kind, from 1

    @property
    def is_alone(self) -> bool:
        """Whether it harms everything on its cluster, so that no other plan may be played beside it."""
        return self.fault == OUTAGE

    @property
    def name(self) -> str:
        """As `make faults PLAN=...` takes it."""
        return f"{self.fault}@{self.call}#{self.ordinal}"

    def is_at(self, call: Call, ordinal: int) -> bool:
        """Whether this is the call that it happens to."""
        return (call, ordinal) == (self.call, self.ordinal)


def numbered(calls: Iterable[Call]) -> list[tuple[Call, int]]:
    """Each call with the how many of its kind it is."""
    counts: Counter[Call] = Counter()
    found = []
    for call in calls:
        counts[call] += 1
        found.append((call, counts[call]))
    return found


def common(plays: list[list[Call]]) -> list[Call]:
    """The calls that came in each of several plays, as often as in each: the others move with the clock."""
    first, *others = (dict.fromkeys(numbered(calls)) for calls in plays)
    return [call for call, ordinal in first if all((call, ordinal) in other for other in others)]


def generate(calls: Iterable[Call]) -> list[Plan]:
    """Every plan for the calls of an undisturbed run, in their order.

    Each write meets each death of the operator. Of the other faults, writes of one shape (the same words about another
    object, or once more) share one round, dealt out among them in turn: which of them it is makes a difference now and
    then, and each fault meets each shape.
    """
    found = numbered(calls)
    writes = [each for each in found if each[0].is_write]
    plans = [Plan(kill, *each) for each in writes for kill in KILLS]
    plans += [plan for group in _by_shape(writes) for plan in _deal(group, OF_WRITES)]
    pod_calls = [each for each in found if each[0].is_pod_write]
    plans += [plan for group in _by_shape(pod_calls) for plan in _deal(group, OF_POD_CALLS)]
    plans += [Plan(fault, Call("state", "runs"), n) for n in POLLS for fault in OF_POLLS]
    return plans + _of_connections(writes)


def _by_shape(calls: list[tuple[Call, int]]) -> list[list[tuple[Call, int]]]:
    groups: dict[tuple[str, str, str], list[tuple[Call, int]]] = {}
    for call, ordinal in calls:
        groups.setdefault(call.shape, []).append((call, ordinal))
    return list(groups.values())


def _deal(group: list[tuple[Call, int]], faults: Iterable[str]) -> list[Plan]:
    fits = [fault for fault in faults if _fits(fault, group[0][0])]
    return [Plan(fault, *group[n % len(group)]) for n, fault in enumerate(fits)]


def _fits(fault: str, call: Call) -> bool:
    return fault not in OF_WATCHES or call.resource.partition("/")[0] in WATCHED


def _of_connections(writes: list[tuple[Call, int]]) -> list[Plan]:
    """A watch of each kind that hangs from its first write on.

    Early, half way, and late: a token that expires, and an outage of the API server and of etcd.
    """
    plans = []
    for resource in sorted(WATCHED):
        first = next((each for each in writes if each[0].resource.partition("/")[0] == resource), None)
        if first is not None:
            plans.append(Plan("hung", *first))
    others = [each for each in writes if each[0].resource != "leases"]
    turns = [others[len(others) * part // 4] for part in (1, 2, 3)]
    return [*plans, *(Plan(fault, *turn) for fault in ("token-expired", OUTAGE) for turn in turns)]
