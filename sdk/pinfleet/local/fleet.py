"""What the operator does for runs, for one process: assign at rising epochs, ack, wake, pass on what people say.

It keeps nothing: the journal knows the runs, and a run that is started again under its name goes on.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self

import msgspec

from pinfleet import clock
from pinfleet.agent import Agent
from pinfleet.errors import JournalRefused
from pinfleet.journal.interface import Journal
from pinfleet.local.pod import LocalPod
from pinfleet.wire import Accepted, EndReason, Offer, OfferLimits, Previous, RunListing, Wait

ENDED: Final = frozenset({"succeeded", "failed", "cancelled", "limit", "incompatible"})
_FOREVER_SECONDS: Final = 10 * 365 * 86_400.0
_LOOK_SECONDS: Final = 60.0


@dataclass(eq=False)
class LocalRun:
    """One run, as the fleet knows it."""

    uid: str
    offer: Offer  # the newest
    listing: RunListing | None = None  # what the pod said last
    epoch: int = 1
    is_parked: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        """The run's name."""
        return self.offer.name

    @property
    def state(self) -> str:
        """What the pod said last; pending before it said anything."""
        return self.listing.state if self.listing is not None else "pending"

    @property
    def waiting_for(self) -> tuple[Wait, ...]:
        """What it waits for."""
        return self.listing.waiting_for if self.listing is not None else ()

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state in ENDED

    async def until(self, is_true: Callable[["LocalRun"], bool]) -> None:
        """Wait until something is true of it."""
        while not is_true(self):
            self.changed.clear()
            await self.changed.wait()


class LocalFleet:
    """Runs of one agent on one pod at a time; used as an async context manager.

    Args:
        agent: Whose runs they are.
        open_journal: Opens the journal; called once for each pod.
        version: What the runs are pinned to.
        max_steps: The bound of each run.
        pod_options: For ``LocalPod``.
    """

    def __init__(
        self,
        agent: Agent,
        open_journal: Callable[[], Journal],
        *,
        version: str = "local",
        max_steps: int = 1_000,
        **pod_options: Any,
    ) -> None:
        self._agent, self._open_journal, self._version = agent, open_journal, version
        self._max_steps, self._pod_options = max_steps, pod_options
        self.runs: dict[str, LocalRun] = {}
        self._pods = 0

    async def __aenter__(self) -> Self:
        """Start the pod."""
        self.pod = self._new_pod()
        self._following = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it; open runs stay in the journal."""
        self._following.cancel()
        await self.pod.close()

    def _new_pod(self) -> LocalPod:
        self._pods += 1
        options = {"version": self._version, "uid": f"pod-{self._pods}"} | self._pod_options
        return LocalPod(self._agent, self._open_journal(), **options)

    # -- what a user does ----------------------------------------------------------------------------------------

    async def start(self, name: str, given: bytes = b"null", *, uid: str | None = None) -> LocalRun:
        """Start a run, or go on with the one of that name.

        Args:
            name: The run's name.
            given: JSON text of its input.
            uid: Its identity in the journal; the name, if not said.
        """
        limits = OfferLimits(max_steps=self._max_steps, active_seconds_left=_FOREVER_SECONDS)
        offer = Offer(name=name, version=self._version, epoch=1, attempt=1, limits=limits, input=msgspec.Raw(given))
        run = LocalRun(uid or name, offer)
        self.runs[run.uid] = run
        await self._assign(run, 1)
        return run

    async def end(self, run: LocalRun, reason: EndReason = "cancel") -> None:
        """End a run, parked or not."""
        if run.is_parked:
            await self._assign(run, run.epoch + 1, end=reason)
        else:
            await self.pod.end(run.uid, run.epoch, reason)

    async def update(self, run: LocalRun, **fields: Any) -> None:
        """Offer a run again with other messages, decisions or timers; a parked one wakes."""
        run.offer = msgspec.structs.replace(run.offer, **fields)
        await self._assign(run, run.epoch + 1 if run.is_parked else run.epoch)

    async def wake_due(self, now: datetime) -> None:
        """Wake the parked runs that have a wait which is due by a clock."""
        for run in self.runs.values():
            due = tuple(wait.id for wait in run.waiting_for if wait.until is not None and wait.until <= now)
            if run.is_parked and due:
                await self._assign(run, run.epoch + 1, timers_fired=due)

    async def replace_pod(self) -> None:
        """Go on with another pod, as after a crash: the old one's code is fenced, and its runs are assigned again."""
        old, self.pod = self.pod, self._new_pod()
        for run in self.runs.values():
            if not run.is_over and not run.is_parked:
                previous = Previous(pod_uid=old.uid, is_gone=True)
                await self._assign(run, run.epoch + 1, previous=previous)
        old.driver.wake()  # who follows it sees that it is another one's turn
        await old.close()

    # -- what the operator does ----------------------------------------------------------------------------------

    async def _assign(self, run: LocalRun, epoch: int, **fields: Any) -> None:
        offer = msgspec.structs.replace(run.offer, epoch=epoch, **fields)
        reply = await self.pod.offer(run.uid, offer)
        if not isinstance(reply.body, Accepted):
            if reply.body.code == "stale_epoch" and isinstance(reply.body.value, int):
                return await self._assign(run, max(reply.body.value, run.epoch) + 1, **fields)  # rule 13
            raise JournalRefused(f"the run {run.name} was not taken: {reply.body.message}")
        run.epoch, run.is_parked = epoch, False
        run.offer = msgspec.structs.replace(offer, end=None, previous=None, timers_fired=())
        return None

    async def _follow(self) -> None:
        n = 0
        while True:
            pod = self.pod
            for listed in pod.runs:
                await self._hear(pod, listed)
            n = await pod.change(n, self._seconds_to_wake())
            n = n if pod is self.pod else 0
            await self.wake_due(clock.now().wall)

    async def _hear(self, pod: LocalPod, listed: RunListing) -> None:
        run = self.runs.get(listed.uid)
        if run is None or listed.epoch != run.epoch or pod is not self.pod:
            return
        run.listing = listed
        if listed.state != "running":
            run.is_parked = listed.state == "parked"
            await pod.ack(listed.uid, listed.epoch)
        if listed.state in {"drained", "fenced"}:
            await self._assign(run, max(run.epoch, listed.journal_epoch or 0) + 1)
        elif run.is_parked and _was_missed(run.offer, listed):
            await self._assign(run, run.epoch + 1)  # rule 9
        run.changed.set()

    def _seconds_to_wake(self) -> float:
        now = clock.now().wall
        dues = [
            (wait.until - now).total_seconds()
            for run in self.runs.values()
            if run.is_parked
            for wait in run.waiting_for
            if wait.until is not None
        ]
        return min(max(min(dues, default=_LOOK_SECONDS), 0.0), _LOOK_SECONDS)


def _was_missed(offer: Offer, parked: RunListing) -> bool:
    """Whether something was sent to a run that it had not seen when it parked."""
    asked = {wait.hash for wait in parked.waiting_for if wait.hash}
    decided = {each.hash for each in offer.decisions} & asked
    return len({each.id for each in offer.messages}) > parked.messages_seen or bool(decided - {*parked.decisions_seen})
