"""A provider of payments that counts what it did; it honours keys, or does not."""

import asyncio
from dataclasses import dataclass, field

from pinfleet.call import Call


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
