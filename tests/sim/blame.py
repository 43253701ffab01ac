"""Who pays for the death of a pod (rule 17)."""

from collections.abc import Iterator

from tests.sim.history import Change, History


def no_neighbour_is_charged(history: History) -> Iterator[str]:
    """A death that several runs shared costs none of them an attempt (rule 17)."""
    for pod, at in _deaths(history):
        lost = [loss for states in history.runs().values() if (loss := _loss(states, pod, at)) is not None]
        charged = [new for old, new in lost if _attempts(new) > _attempts(old) and old.status.get("podDeaths", 0) < 2]
        if len(lost) > 1:
            yield from (
                f"run {new.name} was charged for the death of {pod}, that {len(lost)} shared" for new in charged
            )


def _deaths(history: History) -> Iterator[tuple[str, float]]:
    """Uids of pods that ended by themselves, and when."""
    seen: set[str] = set()
    for change in history.changes["pods"]:
        meta = change.item["metadata"]
        if change.status.get("phase") == "Failed" and "deletionTimestamp" not in meta and meta["uid"] not in seen:
            seen.add(meta["uid"])
            yield meta["uid"], change.at


def _loss(states: list[Change], pod: str, at: float) -> tuple[Change, Change] | None:
    """A run's state on a pod at a time, and the one after, if the pod's death is what parts them."""
    old = next((state for state in reversed(states) if state.at <= at), None)
    if old is None or old.status.get("phase") != "Running" or old.status.get("podUID") != pod:
        return None
    new = next((state for state in states if state.rv > old.rv and _has_left(old, state)), None)
    if new is None or new.verb == "DELETED" or new.status["phase"] not in {"Running", "Pending"}:
        return None
    return old, new


def _has_left(old: Change, new: Change) -> bool:
    return (new.status.get("phase"), new.status.get("epoch")) != (old.status.get("phase"), old.status.get("epoch"))


def _attempts(change: Change) -> int:
    return int(change.status.get("attempts", 0))
