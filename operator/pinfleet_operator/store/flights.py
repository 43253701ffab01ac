"""Assignments in flight: written, or to be, and of an outcome that is not known yet (rule 7)."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from pinfleet_operator.store.counts import VersionKey

LATE_SECONDS: Final = 90.0
"""The API server ends a request after 60 s: one that was sent longer ago is not carried out any more."""

LATE_CHECKS: Final = 180


class Flight(NamedTuple):
    """One assignment."""

    version: VersionKey
    pod_uid: str
    run_uid: str
    goes_alone: bool  # the run is to have the pod to itself (rule 17)


class Term(NamedTuple):
    """What this process knew when it began to lead."""

    resource_version: int  # of a consistent read after the former leader's term
    began_at: datetime


class Flights:
    """Of this process; and, for a while after a change of leaders, what a former one may have sent."""

    def __init__(self, slots_changed: Callable[[str], None]) -> None:
        self.term: Term | None = None
        self._slots_changed = slots_changed  # told with the uid of a pod
        self._known: dict[object, Flight] = {}  # by token
        self._landed = asyncio.Condition()

    def all(self) -> tuple[Flight, ...]:
        """Every assignment in flight."""
        return tuple(self._known.values())

    def begin(self, key: VersionKey, pod_uid: str, run_uid: str, *, goes_alone: bool = False) -> object:
        """Note that an assignment is being written; returns the token that `end` takes."""
        token = object()
        self._known[token] = Flight(key, pod_uid, run_uid, goes_alone)
        self._slots_changed(pod_uid)
        return token

    async def end(self, token: object) -> None:
        """Note that the outcome of an assignment is known and in the store."""
        flight = self._known.pop(token, None)
        if flight is not None:
            self._slots_changed(flight.pod_uid)
            async with self._landed:
                self._landed.notify_all()

    async def outlast(
        self, token: object, is_over: Callable[[], bool], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        """Hold an assignment whose answer was lost in flight until it can no longer be carried out.

        Args:
            token: of the assignment.
            is_over: whether the run has another resourceVersion than the write carried, or is gone.
            sleep: waits so many seconds.
        """
        for _ in range(LATE_CHECKS):
            if is_over():
                break
            await sleep(LATE_SECONDS / LATE_CHECKS)
        await self.end(token)

    async def settled(self, key: VersionKey) -> None:
        """Return once every assignment to the version that is in flight now has settled."""
        awaited = {token for token, flight in self._known.items() if flight.version == key}
        async with self._landed:
            await self._landed.wait_for(lambda: awaited.isdisjoint(self._known))

    def may_be_a_former_leaders(self, resource_version: int, now: datetime) -> bool:
        """Whether a former leader may still pin a run that has this resourceVersion and no version.

        Its write carries what it knew of the run: any change since this term began makes it fail.
        """
        if self.term is None or now - self.term.began_at > timedelta(seconds=LATE_SECONDS):
            return False
        return resource_version <= self.term.resource_version
