"""How many runs a pod held when it died: whether its death can be laid at one run's door (rule 17).

A hint of this process. It must be taken at the moment of the death, since the runs leave the pod one by one; a process
that did not see the pod alive does not know, and then nobody is charged. Pods and runs are two watches: what a former
leader has assigned may be heard only after the death.
"""

from pinfleet_operator.api.child import PodRecord
from pinfleet_operator.store import LOST_PODS_KEPT, Store


class Deaths:
    """Listens to the pods, on a standby too."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: dict[str, int] = {}  # pod uid -> runs on it when it was seen to have died
        self._died_at: dict[str, int] = {}  # pod uid -> resourceVersion of its death
        self._boots: dict[tuple[str, str], int] = {}  # pod uid, boot -> runs of that process, once another one answers
        store.pods.on_change.append(self._pod_changed)

    def held(self, pod_uid: str, boot: str, *, has_another_boot: bool) -> int | None:
        """How many runs the assigned process held when it died; None: it lives, or nobody knows."""
        if pod_uid in self._held:
            self._held[pod_uid] = max(self._held[pod_uid], len(self._store.runs.assigned_to(pod_uid)))
            return self._held[pod_uid] if self._knows_all(self._died_at[pod_uid]) else None
        if not has_another_boot:
            return None
        mates = (self._store.runs.get(uid) for uid in self._store.runs.assigned_to(pod_uid))
        return self._boots.setdefault((pod_uid, boot), sum(run is not None and run.boot == boot for run in mates))

    def _knows_all(self, died_at: int) -> bool:
        """Whether every assignment before a death is known: those of this term are this process's own."""
        term = self._store.flights.term
        others_until = died_at if term is None else min(died_at, term.resource_version)
        return self._store.runs.watched_resource_version >= others_until

    def _pod_changed(self, old: PodRecord | None, new: PodRecord | None) -> None:
        if old is None or old.is_terminal or (new is not None and not new.is_terminal):
            return
        self._held[old.uid] = self._store.runs_on(old.uid)
        self._died_at[old.uid] = (new or old).resource_version
        for known in (self._held, self._died_at, self._boots):
            while len(known) > LOST_PODS_KEPT:
                del known[next(iter(known))]  # type: ignore[arg-type]
