"""Which pod takes a run: the fullest one that fits, so that the others can go.

Pure: the loop calls it right before the one write that pins and assigns.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pinfleet_operator.api.child import PodRecord
from pinfleet_operator.api.mirror import PodMirror


@dataclass(frozen=True)
class Seat:
    """A pod and how many runs it has and may have."""

    pod: PodRecord
    version: str  # id of the version that owns it
    mirror: PodMirror | None  # None: it has not answered yet
    taken: int  # runs assigned to it, on their way to it, or listed by it
    runs_per_pod: int  # of its version
    is_closed: bool  # about to be removed
    is_taken_alone: bool = False  # one run has it to itself (rule 17)

    @property
    def free(self) -> int:
        """Slots that are free; 0 where no run may go."""
        if self.mirror is None or self.is_taken_alone or not is_open(self):
            return 0
        return max(0, min(self.mirror.capacity, self.runs_per_pod) - self.taken)


def is_open(seat: Seat) -> bool:
    """Whether a pod may get runs: Ready by its kubelet and by its own answer, and not on its way out."""
    pod, mirror = seat.pod, seat.mirror
    if mirror is None or seat.is_closed or pod.cordoned or pod.deleting or pod.is_terminal or not pod.ready:
        return False
    is_right = mirror.version == seat.version
    return is_right and mirror.failing_since is None and not mirror.draining and not mirror.refuses


def place(seats: Iterable[Seat]) -> Seat | None:
    """The fullest pod with a free slot, the first by name among equals; None: there is none."""
    return min((seat for seat in seats if seat.free > 0), key=rank, default=None)


def place_alone(seats: Iterable[Seat]) -> Seat | None:
    """A pod that holds no run, the first by name, for a run that shares none (rule 17); None: there is none."""
    return place(seat for seat in seats if seat.taken == 0)


def rank(seat: Seat) -> tuple[int, str]:
    """The order in which pods fill up."""
    return (-seat.taken, seat.pod.name)
