"""A provider of payments that counts what it did, honouring keys or not; an agent that pays there, losing its pod."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from pinfleet.agent import Agent
from pinfleet.call import Call
from pinfleet.context import Ctx
from pinfleet.errors import OutcomeUnknown, ToolFailed
from pinfleet.wire import Previous
from tests.unit.sdk.conftest import MakePod
from tests.unit.sdk.inline_pod import InlinePod, offer

GONE = Previous(pod_uid="pod-1", is_gone=True)
THERE = Previous(pod_uid="pod-1", is_gone=False)


class Refusal(Exception):
    """What an HTTP client raises for a status.

    Args:
        status: The HTTP status.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"the provider says {status}")
        self.status = status


@dataclass
class Provider:
    """Pays."""

    honours_keys: bool = True
    keys: list[str] = field(default_factory=list)  # of every request
    effects: list[int] = field(default_factory=list)  # amounts that were paid
    refuses: list[Exception] = field(default_factory=list)  # what the next requests raise, first one first
    hang_before: bool = False
    hang_after: bool = False
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def pay(self, call: Call, cents: int) -> str:
        """Take a request; it may never be answered."""
        self.keys.append(call.key)
        if self.hang_before:
            self.hang_before = False
            self.arrived.set()
            await self.released.wait()
        if self.refuses:
            raise self.refuses.pop(0)
        if not (self.honours_keys and call.key in self.keys[:-1] and cents in self.effects):
            self.effects.append(cents)
        if self.hang_after:
            self.hang_after = False
            self.arrived.set()
            await self.released.wait()
        return f"paid {cents}"


def paying(provider: Provider, **options: Any) -> Agent:
    """Return an agent that pays 5, says what came of it, and pays 5 again if the input says so."""
    agent = Agent("a")

    @agent.tool(**options)
    async def pay(call: Call, cents: int) -> str:
        return await provider.pay(call, cents)

    @agent.main
    async def main(ctx: Ctx, again: int | None) -> list[str]:
        said = []
        for cents in [5, again] if again is not None else [5]:
            try:
                said.append(await pay(cents))
            except (ToolFailed, OutcomeUnknown) as err:
                said.append(f"{type(err).__name__} {getattr(err, 'type', '')}".strip())
        return said

    return agent


async def result(pod: InlinePod, state: str = "succeeded") -> Any:
    """Return the result, or the error, of run r1."""
    listed = await pod.until("r1", state)
    assert listed.outcome is not None
    return listed.outcome.error.type if listed.outcome.error else bytes(listed.outcome.result).decode()


async def taken_over(make_pod: MakePod, agent: Agent, provider: Provider, **more: Any) -> Any:
    """Lose a pod while its provider has the call, take the run over, and return what the run says."""
    first, second = make_pod(agent), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(1, given=more.pop("given", None)))
    await provider.arrived.wait()
    await second.offer("r1", offer(2, given=None, previous=more.pop("previous", GONE)))
    said = await result(second)
    provider.released.set()
    await first.until("r1", "fenced")
    return said
