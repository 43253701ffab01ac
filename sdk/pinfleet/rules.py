"""The rules that make the pod's side safe, each with a switch that takes it out.

The switches exist for negative controls alone: a test or a demonstration shows that a rule is what prevents a
failure by taking it out. ``PINFLEET_UNSAFE_OFF`` names them, separated by commas; it is read once, here, and a
process that has one off says so loudly at its start.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from pinfleet.errors import BadConfiguration

ENVIRONMENT: Final = "PINFLEET_UNSAFE_OFF"


@dataclass(frozen=True, slots=True)
class Rules:
    """Which rules are on; all of them, but in a negative control."""

    fence: bool = True  # INV-3: a commit carries the epoch, and a lower one than the journal's is refused
    replay: bool = True  # a recorded step is read, never run again
    commit_before_report: bool = True  # rule 2: the end is in the journal before anybody hears of it
    terminal_answer: bool = True  # rule 2: an offer of an ended run answers its outcome and executes nothing
    boot: bool = True  # rule 5: only the process that claimed an epoch may claim it again
    leader: bool = True  # rule 8: a call with a lower leaseTransitions is refused
    cancel_grace: bool = True  # rule 10: the pod commits the end itself when the code does not stop
    pod_uid: bool = True  # rule 12: a call that means another pod is refused
    journal_epoch: bool = True  # rule 13: a refusal reports the journal's epoch
    intent_first: bool = True  # a tool's key is durable before its call
    request_hash: bool = True  # an approval is bound to what was asked, not to its place
    timers_fired: bool = True  # rule 15: a timer that the offer names fires, whatever this clock says
    stale_epoch: bool = True  # an offer below the epoch that this pod knows is refused

    @property
    def off(self) -> tuple[str, ...]:
        """Names of the rules that are taken out."""
        return tuple(field.name.replace("_", "-") for field in fields(self) if not getattr(self, field.name))


ALL: Final = Rules()


def without(*names: str) -> Rules:
    """Return the rules without the named ones, such as ``commit-before-report``."""
    known = {field.name.replace("_", "-"): field.name for field in fields(Rules)}
    unknown = sorted(set(names) - known.keys())
    if unknown:
        raise BadConfiguration(f"{ENVIRONMENT}: unknown rules {unknown}; known: {sorted(known)}")
    return Rules(**{known[name]: False for name in names})


def from_environment(environment: Mapping[str, str] = os.environ) -> Rules:
    """Read the switches of this process."""
    listed = environment.get(ENVIRONMENT, "")
    return without(*(name.strip() for name in listed.split(",") if name.strip()))
