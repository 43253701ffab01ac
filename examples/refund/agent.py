"""A refund that waits three days, asks the customer, and asks a person above 50.00; it pays once, whatever dies.

``PAY`` names the payment service. It honours ``Idempotency-Key``, but a call of unknown outcome is a person's to decide
here, as where a provider keeps no keys: write ``resend=True`` instead of ``unknown="ask"`` to send it again by itself.
"""

import os
from dataclasses import dataclass
from datetime import timedelta

import httpx

from pinfleet import Agent, Call, Ctx, Denied

PAY = os.environ.get("PAY", "http://127.0.0.1:8081/payments")
http = httpx.AsyncClient(limits=httpx.Limits(max_keepalive_connections=0))

agent = Agent("support", schema=1)


@dataclass(frozen=True)
class Ask:
    """What a customer asks."""

    order_id: str


@dataclass(frozen=True)
class Reply:
    """How much the customer wants back."""

    cents: int


@dataclass(frozen=True)
class Order:
    """What was ordered."""

    id: str


@dataclass(frozen=True)
class Receipt:
    """What was paid back."""

    id: str


@dataclass(frozen=True)
class Answer:
    """What the customer is told."""

    text: str


@agent.step
async def find_order(order_id: str) -> Order:
    """Look the order up."""
    return Order(order_id)


@agent.tool(unknown="ask", approve=lambda order, cents: cents > 5_000, show=("cents",))
async def refund(call: Call, order: Order, cents: int) -> Receipt:
    """Pay back."""
    return Receipt(**(await http.post(PAY, json={"cents": cents}, headers=call.headers)).json())


@agent.main
async def support(ctx: Ctx, ask: Ask) -> Answer:
    """Give the shop three days, hear the customer, pay back."""
    order = await find_order(ask.order_id)
    await ctx.sleep(timedelta(days=3))  # parks: no pod
    reply = await ctx.receive(Reply, within=timedelta(days=7))
    try:
        return Answer((await refund(order, reply.cents)).id)  # a person decides above 50.00
    except Denied as no:
        return Answer(f"declined by {no.by}")
