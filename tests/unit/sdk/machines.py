"""The pod's machine in tests: made, brought to where a test begins, and read."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pinfleet.clock import Moment
from pinfleet.journal.interface import ClaimResult, End
from pinfleet.pod import actions as act
from pinfleet.pod.machine import PodMachine
from pinfleet.wire import Refusal
from tests.unit.sdk.inline_pod import offer

START = datetime(2026, 1, 1, tzinfo=UTC)
DONE = End("succeeded", b'{"result":1}')


def at(seconds: float = 0.0) -> Moment:
    """Return a moment."""
    return Moment(START + timedelta(seconds=seconds), seconds)


def machine(**settings: Any) -> PodMachine:
    """Return a new machine of pod-1, version v1."""
    return PodMachine(version="v1", pod_uid="pod-1", boot="b1", capacity=settings.pop("capacity", 2), **settings)


def replies(actions: act.Actions) -> list[tuple[Any, int, str | None, Any]]:
    """Return (request, status, code, value) of each reply."""
    found = [action for action in actions if isinstance(action, act.Reply)]
    return [
        (r.request, int(r.status), r.body.code, r.body.value)
        if isinstance(r.body, Refusal)
        else (r.request, int(r.status), None, None)
        for r in found
    ]


def kinds(actions: act.Actions) -> list[str]:
    """Return the names of the actions that are no replies and no wakes."""
    return [type(action).__name__ for action in actions if not isinstance(action, act.Reply | act.Wake)]


def running(m: PodMachine, uid: str = "r1", epoch: int = 1, **more: Any) -> None:
    """Bring a run to execution."""
    m.offer("q", uid, offer(epoch, **more), at())
    m.claimed(uid, epoch, ClaimResult("claimed", epoch), at())


def listed(m: PodMachine, uid: str = "r1") -> tuple[int, str] | None:
    """Return epoch and state as listed."""
    return next(((run.epoch, run.state) for run in m.state(0, "").runs if run.uid == uid), None)
