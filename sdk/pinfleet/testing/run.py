"""One run, seen by a test: it plays the operator, and the people who write to the run.

Every wait parks, and every wake is another pod, so that whatever is not in the journal is lost at once.
"""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, Literal, Protocol

import msgspec

from pinfleet import clock, values
from pinfleet.agent import Agent
from pinfleet.declared import hints
from pinfleet.testing.pod import VERSION, TestPod
from pinfleet.wire import Decision, InboxMessage, Offer, OfferLimits, Outcome, Previous, RunListing, Wait

_ENDED: Final = frozenset({"succeeded", "failed", "cancelled", "limit", "incompatible"})
_LOST: Final = frozenset({"fenced", "drained"})


class RunFailed(AssertionError):
    """The run did not succeed.

    Args:
        state: How it ended, or ``parked``.
        type: Class name of what its code raised, or the limit that it hit.
        message: Its text.
    """

    def __init__(self, state: str, type: str, message: str) -> None:  # noqa: A002 - the field's name on the wire
        super().__init__(f"the run is {state}: {type}: {message}")
        self.state = state
        self.type = type
        self.message = message


def is_settled(run: RunListing) -> bool:
    """Whether a test may go on: the run has ended, is parked, or its code waits for something of its own."""
    return run.state != "running" or any(wait.kind == "Code" for wait in run.waiting_for)


class Surroundings(Protocol):
    """What a run needs of its fleet."""

    def pod(self, agent: Agent, version: str, trace: Callable[..., None]) -> TestPod:
        """Start another pod."""
        ...

    def move(self, length: timedelta) -> None:
        """Let time pass."""
        ...


class Run:
    """One run.

    Args:
        fleet: Where it runs.
        agent: Its code.
        uid: Of the run.
        given: JSON text of its input.
        max_steps: Total.
        max_tokens: Total; None: no bound.
        requester: Who asked for it; may not approve what it asks.
        events: Hears what its code does; a list of its own, if not given.
    """

    def __init__(
        self,
        fleet: Surroundings,
        agent: Agent,
        uid: str,
        given: bytes,
        *,
        max_steps: int,
        max_tokens: int | None = None,
        requester: str,
        events: list[tuple[str, dict[str, Any]]] | None = None,
    ) -> None:
        self.uid = uid
        self.events = [] if events is None else events
        self.steps = 0
        self._fleet = fleet
        self._agent = agent
        self._version = VERSION
        self._given = given
        self._max_steps, self._max_tokens = max_steps, max_tokens
        self._requester = requester
        self._epoch = 0
        self._pod: TestPod | None = None
        self._listed: RunListing | None = None
        self._messages: list[InboxMessage] = []
        self._decisions: list[Decision] = []

    # -- what happens to it ------------------------------------------------------------------------------------------

    async def advance(self, **length: float) -> None:
        """Let time pass, timer by timer.

        Args:
            **length: As ``timedelta`` takes it, such as ``days=3``.
        """
        until = clock.now().wall + timedelta(**length)
        while True:
            due = [wait.until for wait in self.waiting_for if wait.until is not None and wait.until <= until]
            if not due or self.state in _ENDED:
                break
            self._fleet.move(max(min(due) - clock.now().wall, timedelta()))
            before = self.waiting_for
            await self._wake()
            if self.waiting_for == before:
                break
        self._fleet.move(max(until - clock.now().wall, timedelta()))

    async def send(self, value: object, *, id: str | None = None) -> None:  # noqa: A002 - the wire's name
        """Send a message; the same id again is the same message."""
        body = msgspec.Raw(values.encode(value, "message", tagged=False))
        self._messages.append(InboxMessage(id=id or f"message-{len(self._messages) + 1}", body=body))
        await self._tell()

    async def approve(self, *, by: str, what: str = "", comment: str = "") -> None:
        """Approve what the run asks for; ``what`` names it if there are several."""
        await self.decide("approved", self.asked(what).hash, by=by, comment=comment)

    async def deny(self, *, by: str, what: str = "", comment: str = "") -> None:
        """Say no to what the run asks for."""
        await self.decide("denied", self.asked(what).hash, by=by, comment=comment)

    async def decide(
        self,
        decision: Literal["approved", "denied"],
        request: str,
        *,
        by: str,
        comment: str = "",
    ) -> None:
        """Decide about any request by its hash, also one that the run does not ask for."""
        made = Decision(hash=request, decision=decision, by=by, comment=comment, at=clock.now().wall)
        self._decisions.append(made)
        await self._tell()

    async def cancel(self) -> None:
        """Cancel the run; parked, it ends at once, since no pod holds it."""
        if self.state == "running" and self._pod is not None:
            await self._pod.delete(self.uid, self._epoch)
            await self._settle()

    async def lose_pod(self) -> None:
        """Let another pod take the run over, as after a node failure."""
        await self._assign()

    async def move_to(self, agent: Agent, *, version: str = "v2") -> None:
        """Let a pod of another version take the run over, which migrates it if the schema is another."""
        self._agent, self._version = agent, version
        await self._assign()

    # -- what it says ------------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """``running``, ``parked``, or how it ended."""
        return self._listed.state if self._listed is not None else "running"

    @property
    def waiting_for(self) -> tuple[Wait, ...]:
        """What it waits for."""
        return self._listed.waiting_for if self._listed is not None else ()

    def asked(self, what: str = "") -> Wait:
        """Return what the run asks a person for.

        Raises:
            AssertionError: It asks for nothing, or for several things and ``what`` names none.
        """
        open_ = [wait for wait in self.waiting_for if wait.kind == "Approval" and what in {"", wait.name}]
        if len(open_) != 1:
            raise AssertionError(f"{len(open_)} requests fit {what!r}; the run waits for {self._waits()}")
        return open_[0]

    async def result(self) -> Any:
        """Return the result, as the type that main declares.

        Raises:
            RunFailed: It did not succeed.
        """
        if self.state == "running" and self._pod is not None:
            await self._settle(lambda run: run.state != "running")
        outcome = self.outcome
        if self.state == "succeeded":
            declared = hints(self._agent.entry()).get("return", Any)
            return values.decode(bytes(outcome.result), declared, "main")
        if outcome.error is not None:
            raise RunFailed(self.state, outcome.error.type, outcome.error.message)
        raise RunFailed(self.state, str(outcome.limit), f"it waits for {self._waits()}")

    @property
    def outcome(self) -> Outcome:
        """How it ended; an empty one while it has not."""
        return (self._listed.outcome if self._listed is not None else None) or Outcome()

    @property
    def partial(self) -> Any:
        """What a run that hit a limit left; None: nothing."""
        return json.loads(bytes(self.outcome.result)) if bytes(self.outcome.result) else None

    def sent(self, tool: str) -> int:
        """Return how often a tool's function was called, over all pods."""
        return len(self.keys(tool))

    def keys(self, tool: str) -> list[str]:
        """Return the idempotency keys with which a tool was called, in order."""
        return [each["idempotency_key"] for event, each in self.events if event == "sent" and each["key"].name == tool]

    def executed(self, step: str) -> int:
        """Return how often a step's function was called, over all pods."""
        return sum(1 for event, each in self.events if event == "step" and each["key"].name == step)

    @property
    def emitted(self) -> list[Any]:
        """What the run told by ``ctx.emit``, over all pods."""
        return [each["value"] for event, each in self.events if event == "emit"]

    # -- the operator's part -----------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Assign it for the first time."""
        await self._assign()

    def _heard(self, event: str, run: str, **values: Any) -> None:
        if run == self.uid:
            self.events.append((event, values))

    async def _tell(self) -> None:
        """A message or a decision came: wake the run, or tell live code."""
        if self.state == "running" and self._pod is not None:
            await self._pod.offer(self.uid, self._offer(None))
            await self._settle()
        elif self.state == "parked":
            await self._assign()

    async def _wake(self) -> None:
        """A timer is due: wake the run, or let live code see the clock."""
        if self.state == "running" and self._pod is not None:
            self._pod.look()
            await self._pod.offer(self.uid, self._offer(None))
            await self._settle()
        elif self.state == "parked":
            await self._assign()

    async def _assign(self) -> None:
        former, self._pod = self._pod, self._fleet.pod(self._agent, self._version, self._heard)
        self._epoch += 1
        previous = Previous(pod_uid=former.uid, is_gone=True) if former is not None else None
        await self._pod.offer(self.uid, self._offer(previous))
        await self._settle()

    def _offer(self, previous: Previous | None) -> Offer:
        seen = self._listed
        now = clock.now().wall
        return Offer(
            name=self.uid, version=self._version, epoch=self._epoch, attempt=1, input=msgspec.Raw(self._given),
            limits=OfferLimits(max_steps=self._max_steps, active_seconds_left=1e9, max_tokens=self._max_tokens),
            requester=self._requester,
            messages=tuple(self._messages[seen.messages_seen if seen else 0 :]),
            decisions=tuple(each for each in self._decisions if not seen or each.hash not in seen.decisions_seen),
            timers_fired=tuple(wait.id for wait in self.waiting_for if wait.until is not None and wait.until <= now),
            previous=previous,
        )  # fmt: skip

    async def _settle(self, settled: Callable[[RunListing], bool] = is_settled) -> None:
        """Wait until the run has ended, is parked, or waits on its pod; a lost execution is assigned again."""
        assert self._pod is not None  # noqa: S101 - it was assigned
        epoch = self._epoch
        listed = await self._pod.changed(lambda run: run.epoch == epoch and settled(run), self.uid)
        if listed.state in _LOST:
            await self._assign()
            return
        self._listed = listed
        self.steps = listed.steps
        if listed.state != "running":
            await self._pod.ack(self.uid, self._epoch)

    def _waits(self) -> str:
        return ", ".join(f"{wait.kind} {wait.name}" for wait in self.waiting_for) or "nothing"
