"""Checkers of why a run leaves its pod, who pays for it, and what wakes it. Not asked where etcd was put back."""

from collections.abc import Callable, Iterator
from itertools import pairwise

from tests.sim.history import Change, History
from tests.sim.record import Claimed


def no_run_leaves_a_good_pod(history: History) -> Iterator[str]:
    """A run that its pod has claimed goes elsewhere only if the pod is gone, leaves, or is another process (rule 6)."""
    took = [each for each in history.record.claims if each.status == "claimed"]
    claimed = {(each.run, each.epoch, each.boot): each.at for each in took}
    gone = _first(history, lambda pod: pod.verb == "DELETED" or _leaves(pod) or _has_ended(pod))
    for uid, old, new in _losses(history):
        status, pod = old.status, old.status.get("podUID", "")
        at = claimed.get((uid, status.get("epoch", 0), status.get("boot", "")))
        is_good = gone.get(pod, new.rv + 1) > new.rv and _boots(history, pod, new.at) < 2
        if at is not None and at < new.at and is_good:
            yield f"run {new.name} left pod {pod} at {new.at:.3f}, which had claimed it and was there"


def only_deaths_are_charged(history: History) -> Iterator[str]:
    """An attempt is charged for a pod that died by itself, or began again, and for no run that had made progress."""
    died = _first(history, lambda pod: _has_ended(pod) and not _leaves(pod))
    for _, old, new in _losses(history):
        if new.status.get("attempts", 1) <= old.status.get("attempts", 1):
            continue
        pod = old.status.get("podUID", "")
        if died.get(pod, new.rv + 1) > new.rv and _boots(history, pod, new.at) < 2:
            yield f"run {new.name} was charged at {new.at:.3f}, and its pod {pod} did not die"
        if old.status.get("steps", 0) > old.status.get("stepsAtAttempt", 0):
            yield f"run {new.name} was charged at {new.at:.3f}, and it had made progress"


def a_fired_timer_is_over(history: History) -> Iterator[str]:
    """A run that was woken for a timer does not park for the same timer again (rule 15)."""
    for states in _runs(history).values():
        fired: set[str] = set()
        for state in states:
            waits = {each["id"] for each in state.status.get("waitingFor", ())}
            if state.status.get("phase") == "Running":
                fired |= set(state.status.get("timersFired", ()))
            elif state.status.get("phase") == "Parked" and waits & fired:
                yield f"run {state.name} parked at {state.at:.3f} for {sorted(waits & fired)}, which had woken it"


def a_run_is_claimed_where_it_was_sent(history: History) -> Iterator[str]:
    """The pod that claims a run at an epoch is the one that the run's object names (rule 12)."""
    sent: dict[tuple[str, int], str] = {}
    for uid, states in _runs(history).items():
        for state in states:
            if state.status.get("podUID"):
                sent[uid, state.status.get("epoch", 0)] = state.status["podUID"]
    for event in history.record.events:
        if isinstance(event, Claimed) and event.status == "claimed":
            pod = sent.get((event.run, event.epoch), event.pod)
            if pod != event.pod:
                yield f"run {event.run} was sent to pod {pod} at epoch {event.epoch}, pod {event.pod} claimed it"


def _runs(history: History) -> dict[str, list[Change]]:
    return {} if history.was_restored else history.runs()


def _losses(history: History) -> Iterator[tuple[str, Change, Change]]:
    """Uid, state before and after, where a running run leaves its pod without an end."""
    for uid, states in _runs(history).items():
        for old, new in pairwise(states):
            was, now = old.status, new.status
            is_new = now.get("phase") == "Pending" or now.get("epoch", 0) > was.get("epoch", 0)
            if was.get("phase") == "Running" and now.get("phase") in {"Running", "Pending"} and is_new:
                yield uid, old, new


def _first(history: History, holds: Callable[[Change], bool]) -> dict[str, int]:
    """By pod uid: the first resourceVersion at which something holds of its object."""
    found: dict[str, int] = {}
    for change in history.of("pods"):
        if holds(change):
            found.setdefault(change.item["metadata"]["uid"], change.rv)
    return found


def _leaves(pod: Change) -> bool:
    targets = (each["type"] == "DisruptionTarget" for each in pod.status.get("conditions", ()))
    return "deletionTimestamp" in pod.item["metadata"] or any(targets)


def _has_ended(pod: Change) -> bool:
    return pod.status.get("phase") in {"Failed", "Succeeded"}


def _boots(history: History, pod: str, at: float) -> int:
    """How many processes the pod had had by then."""
    return sum(each.pod == pod and each.at <= at for each in history.record.boots)
