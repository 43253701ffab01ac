"""Who leads: one process at a time, by a Lease of coordination.k8s.io.

Whether a Lease has run out is judged by CLOCK_BOOTTIME since its last *observed change*, never by what its holder's
clock wrote into it; a machine that slept finds its own term over. A term is over, without any call, once the renew
deadline has passed since the last renewal that is known to have reached the server began: that is earlier than anybody
else may take the Lease. On loss writing stops first, then the callback runs; the process exits.

This narrows the window in which two leaders write; the preconditions on writes and the number that every pod call
carries close it.
"""

import asyncio
import contextlib
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from pinfleet_operator.clock import Clock
from pinfleet_operator.errors import Bug, ClusterError, Conflict, NotFound, NotLeader
from pinfleet_operator.kube.api import Kube
from pinfleet_operator.kube.backoff import Jitter
from pinfleet_operator.kube.lease_object import LeaseObject, Seen, Spec

SLACK_MINUTES: Final = 7 * 24 * 60
"""How far a pod's word may raise the number above the minutes since 1970.

Terms last longer than a minute on the whole, so no honest number is higher. A pod that lies can thus never take the
number to where the next leader, after a deleted Lease, could not follow.
"""

RETRY_AFTER_FAILURE: Final = 4  # times more often than usual: the deadline comes nearer
SHORTEST_PAUSE_SECONDS: Final = 0.01

log = structlog.get_logger()


class Leader(Protocol):
    """What the rest of the operator asks of the elector."""

    @property
    def is_leader(self) -> bool:
        """Whether this process may write now."""

    @property
    def transitions(self) -> int:
        """This term's number, for the Pinfleet-Leader header; every later term's is higher."""

    def guard(self) -> None:
        """Return if this process may write now.

        Raises:
            NotLeader: it may not.
        """

    async def raise_transitions(self, above: int) -> None:
        """Write a number higher than `above` into the Lease: a pod has seen a higher one than ours.

        Raises:
            NotLeader: somebody else leads; the pod was right.
            ClusterError: the outcome is unknown; the next refusal asks again.
        """


@dataclass(frozen=True)
class LeaseTimes:
    """In seconds."""

    lease: int = 8  # a candidate waits for so long after the last change that it saw
    renew_deadline: float = 5.0  # a leader stops so long after its last renewal began
    retry: float = 1.0  # between renewals
    look: float = 0.5  # between a candidate's looks: a Lease that was given back is to be taken soon

    @property
    def call(self) -> float:
        """Time limit of one call: long for a server that is slow, short enough for another try within the deadline."""
        return 0.5 * self.renew_deadline


class Elector:
    """A candidate, and in its term the leader; `run` it as a task of its own."""

    def __init__(
        self,
        kube: Kube,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Clock,
        on_lost: Callable[[], None],
        times: LeaseTimes | None = None,
        jitter: Jitter = random.random,
    ) -> None:
        """Make a candidate that has not begun.

        Args:
            kube: a client *without* this elector's guard.
            namespace: the Lease's.
            name: the Lease's.
            identity: unique to this process: a restarted one must not take the old one's term for its own.
            clock: for terms and pauses.
            on_lost: called once when a term ends against our will, after `is_leader` has become False.
            times: see there.
            jitter: spreads the candidates' looks.
        """
        self.acquired = asyncio.Event()  # set while in a term
        self._identity = identity
        self._clock, self._on_lost, self._times, self._jitter = clock, on_lost, times or LeaseTimes(), jitter
        self._lease = LeaseObject(kube, namespace, name, clock)
        self._transitions = 0
        self._is_released = False
        self._has_tried = False  # the Lease may be ours, known or not
        self._free_at = math.inf  # BOOTTIME when what the last look saw will have run out
        self._renewed_at: float | None = None  # BOOTTIME when the last good renewal began; None: no term
        self._writing = asyncio.Lock()

    @property
    def is_leader(self) -> bool:
        """Whether this process may write now; False at once when the deadline passes, also if this task is stuck."""
        if self._renewed_at is None:
            return False
        return self._clock.boottime() - self._renewed_at < self._times.renew_deadline

    @property
    def transitions(self) -> int:
        """This term's number."""
        return self._transitions

    def guard(self) -> None:
        """Return if this process may write now."""
        if not self.is_leader:
            raise NotLeader(f"cannot write: {self._identity} does not hold {self._lease}")

    async def run(self) -> None:
        """Wait for a term and hold it; returns when it is lost or released."""
        while not await self._look():
            if self._is_released:
                return
            await self._clock.sleep(self._until_next_look())
        self.acquired.set()
        log.info("leading", identity=self._identity, transitions=self._transitions)
        pause = self._times.retry
        try:
            while self.is_leader:
                await self._clock.sleep(min(pause, self._left()))
                began = self._clock.boottime()
                usual = self._times.retry / (1 if await self._renew_once() else RETRY_AFTER_FAILURE)
                pause = max(0.0, usual - (self._clock.boottime() - began))  # a slow server eats into the pause alone
        except Bug:
            self._renewed_at = None  # nothing that this process knows can be written any more
            raise
        finally:
            self.acquired.clear()
        self._renewed_at = None
        if self._is_released:
            return
        log.warning("leadership_lost", identity=self._identity, transitions=self._transitions)
        self._on_lost()

    async def release(self) -> None:
        """End the term of our own will: stop writing, then let the next candidate in at once."""
        self._renewed_at, self._is_released = None, True
        if not self._has_tried:
            return
        async with self._writing:
            try:
                await self._give_back()
            except ClusterError as err:  # it runs out by itself
                log.info("lease_not_released", cause=str(err))

    async def _give_back(self) -> None:
        """Clear the Lease if it is ours; a write of ours that was cut off may still come in between, once."""
        for _ in range(2):
            seen = await self._lease.read(self._limit())
            if seen is None or seen.holder != self._identity:
                return
            with contextlib.suppress(Conflict):
                await self._lease.write({"holderIdentity": None, "renewTime": self._stamp()}, self._limit())
                log.info("lease_released", identity=self._identity)
                return

    async def raise_transitions(self, above: int) -> None:
        """Write a number higher than `above`."""
        if above > self._clock.now().timestamp() // 60 + SLACK_MINUTES:
            log.warning("transitions_refused", above=above)
            return
        async with self._writing:
            self.guard()
            if self._transitions <= above:
                await self._renew(above + 1)

    # A candidate

    async def _look(self) -> bool:
        """One look at the Lease, and a try if it is free; whether the term is ours now."""
        try:
            async with self._writing:
                self._free_at = math.inf
                seen = await self._lease.read(self._limit())
                if seen is not None and not self._is_free(seen):
                    self._free_at = seen.changed_at + self._duration(seen)
                    return False
                began = self._clock.boottime()
                # Also where we are its holder already: the answer of an earlier try was lost. It is a new term.
                number = max(self._transitions, seen.transitions if seen else 0) + 1
                await self._put(number, is_new=True, exists=seen is not None)
        except ClusterError as err:
            log.info("lease_not_taken", identity=self._identity, cause=str(err))
            return False
        if self._is_released:
            return False
        self._renewed_at = began
        return self.is_leader  # not if the answer took longer than a term

    def _is_free(self, seen: Seen) -> bool:
        if not seen.holder or seen.holder == self._identity:
            return True
        return self._clock.boottime() - seen.changed_at >= self._duration(seen)

    def _duration(self, seen: Seen) -> float:
        """Seconds without a change after which somebody else's Lease is free."""
        return max(self._times.lease, seen.duration_seconds)

    def _until_next_look(self) -> float:
        """A while; but right when what was seen runs out, if that is earlier."""
        usual = self._times.look * (1 + self._jitter() / 5)
        return max(SHORTEST_PAUSE_SECONDS, min(usual, self._free_at - self._clock.boottime()))

    # A leader

    def _left(self) -> float:
        """Seconds of the term that are left."""
        if self._renewed_at is None:
            return 0.0
        return max(0.0, self._renewed_at + self._times.renew_deadline - self._clock.boottime())

    async def _renew_once(self) -> bool:
        """Renew; whether that is known to have worked."""
        try:
            async with self._writing:
                if self.is_leader:
                    await self._renew(self._transitions)
        except (ClusterError, NotLeader) as err:
            log.warning(
                "lease_not_renewed", identity=self._identity, left_seconds=round(self._left(), 2), cause=str(err)
            )
            return False
        return True

    async def _renew(self, number: int) -> None:
        """Write the Lease as ours; `_writing` is held, and the term was ours a moment ago."""
        began = self._clock.boottime()
        try:
            await self._put(number)
        except NotFound:  # somebody deleted it
            await self._put(number + 1, is_new=True, exists=False)
        except Conflict:  # somebody touched it, or the answer of our last write was lost
            seen = await self._lease.read(self._limit())
            if seen is not None and seen.holder != self._identity:
                self._renewed_at = None
                raise NotLeader(f"cannot renew: {seen.holder or 'nobody'} holds the Lease") from None
            began = self._clock.boottime()
            await self._put(max(number, seen.transitions if seen else 0), exists=seen is not None)
        if not self.is_leader:  # the answer came too late: for a moment we may not have been
            self._renewed_at = None
            raise NotLeader("cannot renew: the deadline passed before the answer came")
        self._renewed_at = began

    async def _put(self, number: int, *, is_new: bool = False, exists: bool = True) -> None:
        self._has_tried = True
        spec = self._term(number, is_new=is_new)
        call = self._lease.write if exists else self._lease.create
        self._transitions = (await call(spec, self._limit())).transitions

    def _term(self, transitions: int, *, is_new: bool = False) -> Spec:
        now = self._stamp()
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._times.lease,
            "renewTime": now,
            "leaseTransitions": transitions,
            **({"acquireTime": now} if is_new else {}),
        }

    def _stamp(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # for people; nobody judges by it

    def _limit(self) -> float:
        """Time limit of the next call: never longer than what is left of the term."""
        return min(self._times.call, self._left() or self._times.call)
