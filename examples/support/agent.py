"""A support agent that waits: it looks an order up, sleeps, and answers.

While it sleeps it holds no pod. Steps may be plain functions: they run in threads and are awaited all the same.
``SUPPORT_TRACE`` names a file outside the journal to which every execution of a step adds a line.
"""

import json
import os
import time
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pinfleet

TRACE = os.environ.get("SUPPORT_TRACE")

agent = pinfleet.Agent("support")


@dataclass(frozen=True)
class Ask:
    """What a customer asks."""

    order: str
    wait_seconds: float = 60.0


@dataclass(frozen=True)
class Order:
    """What was ordered."""

    id: str
    price: Decimal


@agent.step
def find_order(order_id: str) -> Order:
    """Look an order up; sync code."""
    trace()
    return Order(order_id, Decimal("49.90"))


@agent.step
async def answer(order: Order) -> str:
    """Write the answer."""
    trace()
    return f"order {order.id} of {order.price} has been sent"


@agent.main
async def support(ctx: pinfleet.Ctx, ask: Ask) -> dict[str, str]:
    """Find the order, give the shop its time, answer."""
    order = await find_order(ask.order)
    await ctx.sleep(timedelta(seconds=ask.wait_seconds))
    return {"answer": await answer(order)}


def trace() -> None:
    """Add a line that says which step runs, for which run, where."""
    if TRACE:
        run = pinfleet.current()
        line = {"at": time.time(), "run": run.name, "step": run.step, "epoch": run.epoch, "pod": run.pod_uid}
        with Path(TRACE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
