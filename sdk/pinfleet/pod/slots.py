"""What happens to one run in its slot: the transitions that the machine's calls and answers share; pure as it is."""

from http import HTTPStatus
from typing import Final

from pinfleet import ending
from pinfleet.clock import Moment
from pinfleet.journal.interface import ClaimResult
from pinfleet.pod.actions import Action, Actions, Adopt, Cancel, CommitEnd, Drain, Fence, Reply, Request, Start, Wake
from pinfleet.pod.held import Held, outcome_of
from pinfleet.reports import Seen
from pinfleet.rules import ALL, Rules
from pinfleet.wire import PROTOCOL, Accepted, EndReason, ErrorCode, Identity, Offer, Refusal, RunState

_SAID: Final[dict[ErrorCode, str]] = {
    "wrong_version": "this pod serves another version",
    "bad_request": "offer: end: superseded ends no run",
    "stale_epoch": "a higher epoch is known here",
    "draining": "this pod takes no new runs",
    "full": "every slot is taken",
    "still_running": "the run has not ended here",
    "unknown_run": "this pod does not hold the run at this epoch",
}


class Slots:
    """The runs of a pod, and the number of the newest change.

    Args:
        version: That this pod serves; offers of another are refused.
        pod_uid: This pod's.
        boot: Random per process start.
        capacity: Most runs held at once.
        cancel_grace_seconds: After it, an end that the code did not reach is committed without it.
        rules: All of them, but in a negative control.
    """

    def __init__(
        self,
        *,
        version: str,
        pod_uid: str,
        boot: str,
        capacity: int,
        cancel_grace_seconds: float = 30.0,
        rules: Rules = ALL,
    ) -> None:
        self.version = version
        self.pod_uid = pod_uid
        self.boot = boot
        self.is_draining = False
        self._capacity = capacity
        self._grace_seconds = cancel_grace_seconds
        self._rules = rules
        self._runs: dict[str, Held] = {}
        self._n = 1  # never 0: `after=0` asks for everything, at once
        self._removed_n = 0
        self._leader = -1
        self._is_dirty = False  # steps or waits changed since the last Wake

    # -- words -----------------------------------------------------------------------------------------------------

    def identity(self) -> Identity:
        """Return who answers."""
        return Identity(protocol=PROTOCOL, version=self.version, pod_uid=self.pod_uid, boot=self.boot)

    def accepted(self) -> Accepted:
        """Return the body of an accepted call."""
        return Accepted(protocol=PROTOCOL, version=self.version, pod_uid=self.pod_uid, boot=self.boot, n=self._n)

    def refusal(self, code: ErrorCode, message: str, value: int | str | None = None) -> Refusal:
        """Return the body of a refusal."""
        return Refusal(
            protocol=PROTOCOL,
            version=self.version,
            pod_uid=self.pod_uid,
            boot=self.boot,
            code=code,
            message=message,
            value=value,
        )

    def _accept(self, request: Request, status: HTTPStatus) -> Reply:
        return Reply(request, status, self.accepted())

    def _refuse(self, request: Request, status: HTTPStatus, code: ErrorCode, value: int | str | None = None) -> Actions:
        return (Reply(request, status, self.refusal(code, _SAID[code], value)),)

    # -- transitions -----------------------------------------------------------------------------------------------

    def _lost(self, held: Held, result: ClaimResult) -> list[Action]:
        """The journal knows a higher epoch; code that runs here at a lower one is fenced with it."""
        if not held.is_listed or held.is_final:
            return []
        fence: list[Action] = [Fence(held.uid)] if held.has_code else []
        held.journal_epoch = result.epoch if self._rules.journal_epoch else None
        return [*fence, *self._list(held, "fenced", None)]

    def _won(self, held: Held, offer: Offer, result: ClaimResult, now: Moment) -> list[Action]:
        """The claim stands: list the run, then answer, adopt, end or start it."""
        had_code, adopts = held.has_code, held.has_code and result.continues
        held.name, held.epoch, held.is_listed = offer.name, offer.epoch, True
        held.state, held.outcome, held.journal_epoch = "running", None, None
        held.steps, held.tokens, held.partial = result.steps, result.tokens, result.partial
        held.restart = None
        self._set_limits(held, offer, now, is_update=False)
        if not adopts:
            held.waiting_for, held.ending, held.grace_until, held.is_committing = (), None, None, False
            held.seen = Seen()
        fence: list[Action] = [Fence(held.uid)] if had_code and not adopts else []
        if result.end is not None:
            return [*fence, *self._list(held, result.end.state, result.end.outcome)]
        if result.status == "parked":
            return [*fence, *self._list(held, "parked", None)]
        self._change(held)
        if offer.end is not None:
            adopt: list[Action] = [Adopt(held.uid, offer)] if adopts else []
            return [*fence, *adopt, *self._end(held, offer.end, now), Wake()]
        if result.steps < offer.steps:
            return [*fence, *self._list(held, "incompatible", ending.journal_lost(result.steps, offer.steps).outcome)]
        if self.is_draining:
            return [*fence, *(self._drain(held) if adopts else self._list(held, "drained", None))]
        if adopts:
            return [Adopt(held.uid, offer), Wake()]
        if had_code:
            held.restart = offer
            return [*fence, Wake()]
        held.has_code = True
        return [Start(held.uid, offer, result.steps, result.tokens, result.partial), Wake()]

    def _end(self, held: Held, reason: EndReason, now: Moment) -> Actions:
        """Tell the code to end, or end a run that has none."""
        if held.ending not in {None, "superseded"}:
            return ()
        if reason == "superseded":
            held.ending = reason
            return self._drain(held)
        held.ending = reason
        if held.has_code and held.restart is None:
            held.grace_until = now.monotonic + self._grace_seconds
            return (Cancel(held.uid, reason),)
        held.restart = None
        held.grace_until = now.monotonic
        return self._commit_end_if_due(held, now, has_grace=False)

    def _commit_end_if_due(self, held: Held, now: Moment, *, has_grace: bool = True) -> Actions:
        if held.ending is None or held.grace_until is None or held.is_committing or now.monotonic < held.grace_until:
            return ()
        if has_grace and held.has_code and not self._rules.cancel_grace:
            return ()
        held.is_committing = True
        return (CommitEnd(held.uid, held.epoch, ending.of_reason(held.ending, held.partial)),)

    def _drain(self, held: Held) -> Actions:
        if not held.is_listed or held.is_final or held.pending is not None or held.grace_until is not None:
            return ()
        if held.has_code and held.restart is None:
            return (Drain(held.uid),)
        held.restart = None
        return self._list(held, "drained", None)

    def _set_limits(self, held: Held, offer: Offer, now: Moment, *, is_update: bool) -> None:
        until = now.monotonic + offer.limits.active_seconds_left
        held.active_until = min(held.active_until, until) if is_update else until
        held.deadline = offer.deadline

    def _list(self, held: Held, state: RunState, outcome: bytes | None) -> Actions:
        held.state, held.outcome = state, outcome_of(outcome)
        self._change(held)
        return (Wake(),)

    def _change(self, held: Held) -> None:
        self._n += 1
        held.changed = self._n

    def _removed(self) -> Wake:
        self._n += 1
        self._removed_n = self._n
        return Wake()

    def _forget_if_done(self, held: Held) -> bool:
        if held.is_listed or held.has_code or held.pending or held.queued:
            return False
        return self._runs.pop(held.uid, None) is not None
