"""What one run needs now: an ordered policy, one question after the other, the first answer wins.

Pure: ``judge(Situation) -> Verdict``. Level-triggered: it is asked again at every event and gives the same answer for
the same world, so that nothing depends on which event came, or whether one was lost. The rules' numbers are those of
``docs/reference/run-contract.md``.
"""

from collections.abc import Callable
from dataclasses import replace

from pinfleet_operator.runs.judge.approvals import settle_approvals
from pinfleet_operator.runs.judge.bounds import earliest, next_bound
from pinfleet_operator.runs.judge.listings import settle_listings
from pinfleet_operator.runs.judge.running import (
    epoch_fell,
    goes_on_its_pod,
    lost_its_pod,
    lost_with_its_pod,
    not_held_yet,
    stopped_on_its_pod,
)
from pinfleet_operator.runs.judge.situation import Situation, Verdict
from pinfleet_operator.runs.judge.waiting import (
    ended,
    ends_without_pod,
    explicit_pin,
    first_assignment,
    held,
    no_object,
    parked,
    refused,
    waits_for_fleet,
)

RULES: tuple[Callable[[Situation], Verdict | None], ...] = (
    no_object,
    ended,
    epoch_fell,  # before any ending: the journal of a higher epoch may hold the end already
    ends_without_pod,
    refused,
    waits_for_fleet,
    explicit_pin,
    first_assignment,
    parked,
    held,
    lost_its_pod,
    stopped_on_its_pod,
    lost_with_its_pod,
    goes_on_its_pod,
    not_held_yet,
)
"""The policy, in order."""


def judge(s: Situation) -> Verdict:
    """Decide what to do for one run, in order, and when to look again.

    What other pods still list, and what people decided, is settled beside whatever the run itself needs.
    """
    people = settle_approvals(s)
    aside = (*settle_listings(s), *people.actions)
    bound = next_bound(s) if s.run is not None and s.run.is_open else None
    for rule in RULES:
        found = rule(s)
        if found is not None:
            again_at = earliest(found.again_at, bound, people.again_at)
            return replace(found, actions=aside + found.actions, again_at=again_at)
    return Verdict(aside, earliest(bound, people.again_at))
