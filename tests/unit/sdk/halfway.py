"""A run that stops half way until it may go on, and says which of its steps' bodies ran: for what happens meanwhile."""

import asyncio

from pinfleet import Agent, Ctx

STEPS = 6
HALF = STEPS // 2


class Halfway:
    """The agent of such runs."""

    def __init__(self) -> None:
        self.agent, self.ran = Agent("a"), list[int]()
        self.reached, self.go = asyncio.Event(), asyncio.Event()

        @self.agent.step
        async def work(n: int) -> int:
            self.ran.append(n)
            return n

        @self.agent.main
        async def main(_: Ctx) -> list[int]:
            values = []
            for n in range(STEPS):
                if n == HALF:
                    self.reached.set()
                    await self.go.wait()
                values.append(await work(n))
            return values
