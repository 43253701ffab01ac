"""One plan's script: what happens to which request, and a record of every request. Both relays of a plan share it."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from tests.faults.calls import Call
from tests.faults.harm import HARM
from tests.faults.plans import Plan
from tests.faults.relay import Answer, Cut, Exchange

TAKEN: Final = (200, 201)
EXPIRED: Final = b'{"type":"ERROR","object":{"kind":"Status","status":"Failure","reason":"Expired","code":410}}\n'
REFUSED: Final = json.dumps({"kind": "Status", "status": "Failure", "reason": "Unauthorized", "code": 401}).encode()


@dataclass
class Seen:
    """One request as it came."""

    at: float  # by the monotonic clock
    call: Call
    ordinal: int  # the how many of its kind it is, from 1
    token: str = ""
    status: int = 0  # what the other end answered; 0: it was not asked


@dataclass
class Script:
    """What is to happen, and what did."""

    plan: Plan | None  # None: nothing happens
    kill: Callable[[], None] = lambda: None  # the operator, at once
    expire_token: Callable[[], None] = lambda: None  # give the operator another token to find
    end_server: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0)  # the API server and etcd, for a while
    seen: list[Seen] = field(default_factory=list)
    fired_at: float | None = None  # when the plan's fault happened
    stale_token: str = ""  # that is refused from now on
    _counts: Counter[Call] = field(default_factory=Counter)
    _streams: Counter[str] = field(default_factory=Counter)  # watches ended by force, by resource
    _frozen: dict[str, asyncio.Event] = field(default_factory=dict)  # by resource; set: it flows again
    _hung: Counter[str] = field(default_factory=Counter)  # how often the watches of a resource were hung
    _open: asyncio.Event = field(default_factory=asyncio.Event)
    _answered: asyncio.Condition = field(default_factory=asyncio.Condition)
    _deaths: int = 0

    def __post_init__(self) -> None:
        self._open.set()

    # What the relays ask

    async def serve(self, exchange: Exchange) -> Answer | None:
        """What becomes of a request; for a watch: None, it may begin."""
        deaths = self._deaths
        await self._open.wait()
        if deaths != self._deaths:
            raise Cut  # from a process that is dead
        if self.stale_token and exchange.token == self.stale_token:
            return Answer(401, {"Content-Type": "application/json"}, REFUSED)
        call = exchange.call
        self._counts[call] += 1
        seen = Seen(time.monotonic(), call, self._counts[call], exchange.token)
        self.seen.append(seen)
        plan = self.plan
        if plan is not None and self.fired_at is None and plan.is_at(call, seen.ordinal):
            self.fired_at = seen.at
            return await HARM[plan.fault](self, exchange)
        return None if call.verb == "watch" else await self.forward(exchange)

    async def forward(self, exchange: Exchange) -> Answer:
        """Have a request carried out."""
        answer = await exchange.forward()
        for seen in reversed(self.seen):
            if seen.call == exchange.call:
                seen.status = answer.status
                break
        async with self._answered:
            self._answered.notify_all()
        return answer

    async def stream(self, call: Call, lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The lines of a watch as the operator gets them."""
        ended, hung = self._streams[call.resource], self._hung[call.resource]
        async for line in lines:
            frozen = self._frozen.get(call.resource)
            if frozen is not None:
                await frozen.wait()
            if hung != self._hung[call.resource]:
                await asyncio.Event().wait()  # for ever: the client must notice by itself
            if ended != self._streams[call.resource]:
                yield EXPIRED
                return
            yield line

    # What harm is done with

    def die(self) -> None:
        """Kill the operator; what it has sent and is not under way goes nowhere."""
        self._deaths += 1
        self.kill()

    def hold(self) -> None:
        """Let no request through until `let_go`."""
        self._open.clear()

    def let_go(self) -> None:
        """Let requests through again."""
        self._open.set()

    async def another_answer(self) -> None:
        """Until another request was carried out."""
        async with self._answered:
            await self._answered.wait()

    def freeze(self, resource: str) -> asyncio.Event:
        """Hold back the events of a resource until the event is set."""
        return self._frozen.setdefault(resource, asyncio.Event())

    def expire_watch(self, resource: str) -> None:
        """Answer 410 to the watches of a resource in place of their next event."""
        self._streams[resource] += 1

    def hang(self, resource: str) -> None:
        """Send nothing more on the watches of a resource that are open now."""
        self._hung[resource] += 1

    # What was seen

    def last_write_at(self) -> float:
        """When the operator last wrote anything but its Lease; 0: never."""
        return max((each.at for each in self._writes()), default=0.0)

    def last_change_at(self) -> float:
        """When the operator began, or last wrote anything but its Lease."""
        return max(self.last_write_at(), self.seen[0].at if self.seen else 0.0)

    def leads_since(self, at: float) -> bool:
        """Whether somebody has written the Lease since; who waits for it reads it alone."""
        return any(each.at > at and each.call.resource == "leases" and each.call.is_write and each.status in TAKEN
                   for each in self.seen)  # fmt: skip

    def writes_since(self, at: float) -> list[str]:
        """What was written from a time on, Leases apart."""
        return [str(each.call) for each in self._writes() if each.at >= at]

    def _writes(self) -> list[Seen]:
        return [each for each in self.seen if each.call.is_write and each.call.resource != "leases"]

    def told(self) -> str:
        """Every request, a line each: seconds since the first, which it was, what was answered."""
        began = self.seen[0].at if self.seen else 0.0
        lines = [f"{each.at - began:8.2f} {each.call}#{each.ordinal} {each.status}" for each in self.seen]
        return "\n".join(lines)

    def has_seen(self, call: Call, since: float) -> bool:
        """Whether a request came since."""
        return any(each.call == call and each.at >= since for each in self.seen)
