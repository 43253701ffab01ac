"""What was seen of one namespace of a real cluster, as values: nothing here reads a clock, a file or a socket.

``recorder`` fills it in, ``history`` makes of it what the checkers look at.
"""

from dataclasses import dataclass, field
from typing import Any

from tests.sim.history import Change

Json = dict[str, Any]
OPERATOR = ":pinfleet-operator"  # the end of the operator's user name
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class Write:
    """One answered write of the audit log."""

    at: float  # when it was answered; seconds, as every time here
    user: str
    verb: str
    resource: str  # with its subresource, as in pods/status
    name: str
    code: int

    @property
    def is_operators(self) -> bool:
        """Whether the operator made it."""
        return self.user.endswith(OPERATOR)

    @property
    def is_done(self) -> bool:
        """Whether the API server took it."""
        return self.code < 300


@dataclass(frozen=True)
class StepRow:
    """A step as it stood in the journal at some time; another row of the same step is a change of it."""

    at: float  # when it was committed, by the pod's clock
    run: str  # uid
    scope: str
    name: str
    n: int
    epoch: int
    attempt: int
    version: str
    digest: bytes  # of its result

    @property
    def key(self) -> str:
        """Its identity in the run."""
        return f"{self.scope}/{self.name}#{self.n}" if self.scope else f"{self.name}#{self.n}"


@dataclass(frozen=True)
class RunRow:
    """A run as it stood in the journal at some time."""

    at: float  # when it was claimed
    run: str  # uid
    epoch: int
    boot: str
    pod: str
    version: str
    state: str
    ended_at: float | None


@dataclass(frozen=True)
class TraceLine:
    """A step's body began; written by the agent outside of its journal."""

    at: float
    run: str  # name
    step: str
    epoch: int
    pod: str
    version: str


@dataclass
class Recording:
    """Of one namespace, from before its first object to its end."""

    namespace: str
    changes: dict[str, list[Change]] = field(default_factory=dict)  # by plural, in order; leases: of all terms
    writes: list[Write] = field(default_factory=list)  # in this namespace, by anybody, in order
    steps: list[StepRow] = field(default_factory=list)  # in order of their sight
    claims: list[RunRow] = field(default_factory=list)  # in order of their sight
    trace: list[TraceLine] = field(default_factory=list)
    ended_at: float = 0.0
    gaps: list[str] = field(default_factory=list)  # what the watches may have missed
    has_faults: bool = False  # harm was done that the recording itself does not show

    def of(self, plural: str) -> list[Change]:
        """Every state of every object of a kind."""
        return self.changes.get(plural, [])
