"""The pod's side of the run protocol as a pure machine: inputs in, actions out.

It holds no socket, clock, thread or journal. A driver calls one input at a time, in the order in which things happened,
and carries out the returned actions in order.

Inputs from callers (each answers ``request`` with exactly one Reply, at once or, for an offer, after the claim):
    ``offer(request, uid, offer, now)`` ``ack(request, uid, epoch)`` ``delete(request, uid, epoch, reason, now)``
    ``drain(now)`` (no reply: POST /drain and SIGTERM) and, read only, ``check_leader(number)`` ``state(after, boot)``
Inputs from the surroundings, the answers to actions:
    Claim      -> ``claimed(uid, epoch, result, now)``; result None: the journal did not answer
    CommitEnd  -> ``end_committed(uid, epoch, result, now)``; result None: the journal did not answer
    Start, Adopt, Cancel, Drain, Fence -> in time ``progressed(uid, epoch, progress)``, once ``ended(Ended)``,
    and last
               ``stopped(uid)`` when no code of the run is left
    time       -> ``tick(now)``, every second or so

A run takes a slot from its offer until it is acked *and* its code has stopped. Acked code that goes on lowers the
reported capacity. ``n`` counts changes; a removal is told by a full answer, since a list of changes cannot say it.
"""

from http import HTTPStatus
from typing import Final

import msgspec

from pinfleet.clock import Moment
from pinfleet.journal.interface import ClaimResult, CommitResult
from pinfleet.pod.actions import (
    Action,
    Actions,
    Claim,
    Fence,
    Reply,
    Request,
    Start,
    Update,
    Wake,
)
from pinfleet.pod.held import Held, Pending
from pinfleet.pod.slots import Slots
from pinfleet.reports import Ended, Progress
from pinfleet.wire import (
    PROTOCOL,
    EndReason,
    Offer,
    Refusal,
    StateAnswer,
)

_AGAIN_SECONDS: Final = 1.0
"""Pause before an end is committed again when the journal did not answer."""


class PodMachine(Slots):
    """Which runs this pod holds, and what it says of them.

    Args:
        version: That this pod serves; offers of another are refused.
        pod_uid: This pod's.
        boot: Random per process start.
        capacity: Most runs held at once.
        cancel_grace_seconds: After it, an end that the code did not reach is committed without it.
        rules: All of them, but in a negative control.
    """

    # -- what callers read ---------------------------------------------------------------------------------------

    @property
    def n(self) -> int:
        """Number of the newest change."""
        return self._n

    @property
    def is_empty(self) -> bool:
        """Whether no run is held: a drained process may go."""
        return not self._runs

    @property
    def holds_listed(self) -> bool:
        """Whether a run is listed or being claimed; code whose run was acked does not count."""
        return any(held.is_listed or held.pending for held in self._runs.values())

    def check_leader(self, number: int) -> Refusal | None:
        """Refuse a caller whose leaseTransitions is lower than the highest seen (rule 8)."""
        if number < self._leader and self._rules.leader:
            return self.refusal("stale_leader", f"a newer leader has called: {self._leader}", self._leader)
        self._leader = max(self._leader, number)
        return None

    def state(self, after: int, boot: str) -> StateAnswer:
        """Return the runs changed after a number, or all of them."""
        is_full = after <= 0 or boot != self.boot or after > self._n or after < self._removed_n
        stuck = sum(1 for held in self._runs.values() if not held.is_listed and not held.pending)
        shown = (held for held in self._runs.values() if held.is_listed and (is_full or held.changed > after))
        return StateAnswer(
            protocol=PROTOCOL,
            version=self.version,
            pod_uid=self.pod_uid,
            boot=self.boot,
            n=self._n,
            capacity=self._capacity - stuck,
            draining=self.is_draining,
            full=is_full,
            runs=tuple(held.listing() for held in sorted(shown, key=lambda held: held.uid)),
        )

    # -- calls ---------------------------------------------------------------------------------------------------

    def offer(self, request: Request, uid: str, offer: Offer, now: Moment) -> Actions:
        """Take a run, or say why not."""
        held = self._runs.get(uid)
        known = held.known_epoch if held else 0
        if offer.version != self.version:
            return self._refuse(request, HTTPStatus.MISDIRECTED_REQUEST, "wrong_version", self.version)
        if offer.end == "superseded":
            return self._refuse(request, HTTPStatus.BAD_REQUEST, "bad_request")
        if offer.epoch < known and self._rules.stale_epoch:
            return self._refuse(request, HTTPStatus.CONFLICT, "stale_epoch", known)
        if held is not None and offer.epoch == known:
            return self._again(request, held, offer, now)
        if self.is_draining:
            return self._refuse(request, HTTPStatus.SERVICE_UNAVAILABLE, "draining")
        if held is None:
            if len(self._runs) >= self._capacity:
                return self._refuse(request, HTTPStatus.TOO_MANY_REQUESTS, "full", self._capacity)
            held = self._runs[uid] = Held(uid)
        return self._ask_claim(held, Pending(offer, [request]))

    def ack(self, request: Request, uid: str, epoch: int) -> Actions:
        """Forget an end or a park that is stored."""
        held = self._runs.get(uid)
        if held is None or not (held.is_listed or held.pending):
            return (self._accept(request, HTTPStatus.NO_CONTENT),)
        if held.known_epoch > epoch:
            return self._refuse(request, HTTPStatus.CONFLICT, "stale_epoch", held.known_epoch)
        if not held.is_final or held.pending:
            return self._refuse(request, HTTPStatus.CONFLICT, "still_running")
        held.is_listed = False
        self._forget_if_done(held)
        return self._removed(), self._accept(request, HTTPStatus.OK)

    def delete(self, request: Request, uid: str, epoch: int, reason: EndReason, now: Moment) -> Actions:
        """End a run, or, if superseded, its execution here."""
        held = self._runs.get(uid)
        if held is None or held.known_epoch == 0 or epoch > held.known_epoch:
            return self._refuse(request, HTTPStatus.NOT_FOUND, "unknown_run")
        if epoch < held.known_epoch:
            return self._refuse(request, HTTPStatus.CONFLICT, "stale_epoch", held.known_epoch)
        accepted = self._accept(request, HTTPStatus.ACCEPTED)
        claim = held.queued or held.pending
        if claim is not None:  # it ends as soon as it is claimed
            if reason != "superseded":
                claim.offer = msgspec.structs.replace(claim.offer, end=reason)
            return (accepted,)
        if held.is_final:
            return (accepted,)
        return (*self._end(held, reason, now), accepted)

    def drain(self) -> Actions:
        """Take no new runs; every run stops at its next step boundary."""
        if self.is_draining:
            return ()
        self.is_draining = True
        self._n += 1
        actions: list[Action] = [Wake()]
        for held in self._runs.values():
            actions += self._drain(held)
        return tuple(actions)

    # -- answers to actions --------------------------------------------------------------------------------------

    def claimed(self, uid: str, epoch: int, result: ClaimResult | None, now: Moment) -> Actions:
        """A claim was answered by the journal, or not at all (None)."""
        held = self._runs.get(uid)
        if held is None or held.pending is None or held.pending.offer.epoch != epoch:
            return ()
        pending, held.pending = held.pending, None
        if result is None:
            status, body = HTTPStatus.SERVICE_UNAVAILABLE, self.refusal("journal_unavailable", "nothing was claimed")
            actions: list[Action] = []
        elif result.status == "fenced":
            actions = self._lost(held, result)
            value = result.epoch if self._rules.journal_epoch else None
            status, body = HTTPStatus.CONFLICT, self.refusal("stale_epoch", f"the journal is at {result.epoch}", value)
        else:
            actions = self._won(held, pending.offer, result, now)
            replies = [self._accept(request, HTTPStatus.ACCEPTED) for request in pending.requests]
            return (*actions, *replies, *self._next_claim(held))
        self._forget_if_done(held)
        return (*actions, *(Reply(request, status, body) for request in pending.requests), *self._next_claim(held))

    def progressed(self, uid: str, epoch: int, progress: Progress) -> Actions:
        """The code committed steps, its waits changed, or it received something; the next tick tells it."""
        held = self._runs.get(uid)
        if held is None or held.epoch != epoch or held.is_final or not held.is_listed:
            return ()
        held.partial = progress.partial
        if (held.steps, held.waiting_for, held.seen) == (progress.steps, progress.waiting_for, progress.seen):
            return ()
        held.steps, held.waiting_for, held.seen = progress.steps, progress.waiting_for, progress.seen
        self._change(held)
        self._is_dirty = True
        return ()

    def ended(self, ended: Ended) -> Actions:
        """The run is over here; its code may still run."""
        held = self._runs.get(ended.uid)
        if held is None or held.epoch != ended.epoch or held.is_final or not held.is_listed:
            return ()
        held.steps = max(held.steps, ended.steps)
        held.waiting_for, held.journal_epoch, held.seen = ended.waiting_for, ended.journal_epoch, ended.seen
        return self._list(held, ended.state, ended.outcome)

    def stopped(self, uid: str) -> Actions:
        """No code of the run is left in this process."""
        held = self._runs.get(uid)
        if held is None:
            return ()
        held.has_code = False
        if held.restart is not None:
            offer, held.restart = held.restart, None
            held.has_code = True
            return (Start(uid, offer, held.steps, held.tokens, held.partial),)
        if held.is_listed and held.state == "running" and not held.is_committing and held.pending is None:
            return self._list(held, "fenced", None)  # it ended without a word: let it be assigned again
        if self._forget_if_done(held):
            return (self._removed(),)
        return ()

    def end_committed(self, uid: str, epoch: int, result: CommitResult | None, now: Moment) -> Actions:
        """An end without the code was answered by the journal, or not at all (None)."""
        held = self._runs.get(uid)
        if held is None or held.epoch != epoch:
            return ()
        held.is_committing = False
        if held.is_final:
            return ()
        if result is None:
            held.grace_until = now.monotonic + _AGAIN_SECONDS
            return ()
        held.steps = max(held.steps, result.steps)
        held.waiting_for = ()
        fence = [Fence(uid)] if held.has_code else []
        if result.end is not None:
            return (*fence, *self._list(held, result.end.state, result.end.outcome))
        held.journal_epoch = result.epoch if self._rules.journal_epoch else None
        return (*fence, *self._list(held, "fenced", None))

    def tick(self, now: Moment) -> Actions:
        """Time has passed: limits, graces, and progress that was not told yet."""
        actions: list[Action] = []
        for held in self._runs.values():
            if not held.is_listed or held.is_final or held.pending is not None:
                continue
            if held.ending in {None, "superseded"} and now.monotonic >= held.active_until:
                actions += self._end(held, "active", now)
            elif held.ending in {None, "superseded"} and held.deadline is not None and now.wall >= held.deadline:
                actions += self._end(held, "deadline", now)
            actions += self._commit_end_if_due(held, now)
        if self._is_dirty:
            self._is_dirty = False
            actions.append(Wake())
        return tuple(actions)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _again(self, request: Request, held: Held, offer: Offer, now: Moment) -> Actions:
        """The epoch that is known here was offered again: an idempotent update."""
        claim = held.queued or held.pending
        if claim is not None:
            claim.requests.append(request)
            if claim.offer.end is None or offer.end is not None:
                claim.offer = offer
            return ()
        accepted = self._accept(request, HTTPStatus.ACCEPTED)
        if held.is_final:
            return (accepted,)
        self._set_limits(held, offer, now, is_update=True)
        if offer.end is not None:
            return (*self._end(held, offer.end, now), accepted)
        has_news = offer.timers_fired or offer.messages or offer.decisions or offer.previous is not None
        update = [Update(held.uid, offer)] if held.has_code and has_news else []
        return (*update, accepted)

    def _ask_claim(self, held: Held, pending: Pending) -> Actions:
        if held.pending is None:
            held.pending = pending
            return (Claim(held.uid, pending.offer),)
        superseded, held.queued = held.queued, pending
        if superseded is None:
            return ()
        refused = self.refusal("stale_epoch", "a higher epoch was offered", pending.offer.epoch)
        return tuple(Reply(request, HTTPStatus.CONFLICT, refused) for request in superseded.requests)

    def _next_claim(self, held: Held) -> Actions:
        if held.queued is None:
            return ()
        self._runs.setdefault(held.uid, held)
        held.pending, held.queued = held.queued, None
        return (Claim(held.uid, held.pending.offer),)
