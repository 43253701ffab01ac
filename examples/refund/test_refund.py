"""How an author tests a refund: as a user meets it, and with its pod gone at every commit."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from examples.refund import agent as refunds
from examples.refund.agent import Answer, Ask, Reply, agent

from pinfleet.testing import Fleet, Run, kill_everywhere

PAID: list[tuple[str, int]] = []  # keys and amounts


def pay(request: httpx.Request) -> httpx.Response:
    """Be the payment service, which honours keys."""
    key, cents = request.headers["Idempotency-Key"], json.loads(request.content)["cents"]
    if key not in [known for known, _ in PAID]:
        PAID.append((key, cents))
    return httpx.Response(201, json={"id": f"pay-{cents}"})


@contextmanager
def bank() -> Iterator[None]:
    """Begin with a payment service that has paid nothing; nothing is paid twice."""
    PAID.clear()
    refunds.http = httpx.AsyncClient(transport=httpx.MockTransport(pay))
    yield
    assert len(PAID) <= 1, "paid twice"


@pytest.fixture(autouse=True)
def _bank() -> Iterator[None]:
    with bank():
        yield


async def happy_path(run: Run) -> None:
    """Wait, ask for a lot, get it approved."""
    await run.advance(days=3)
    await run.send(Reply(cents=9_900))
    await run.approve(by="ann")


async def test_refund(pinfleet: Fleet) -> None:
    """A refund above 50.00 is paid once a person has approved it."""
    run = await pinfleet.start(agent, Ask("o-1"))
    await run.advance(days=3)
    await run.send(Reply(cents=9_900))
    await run.approve(by="ann")
    assert await run.result() == Answer("pay-9900")
    assert run.sent("refund") == 1


async def test_declined(pinfleet: Fleet) -> None:
    """A refund that a person declines is not paid."""
    run = await pinfleet.start(agent, Ask("o-1"))
    await run.advance(days=3)
    await run.send(Reply(cents=9_900))
    await run.deny(by="ann")
    assert await run.result() == Answer("declined by ann")
    assert not PAID


async def test_small_refund(pinfleet: Fleet) -> None:
    """Up to 50.00 nobody is asked."""
    run = await pinfleet.start(agent, Ask("o-1"))
    await run.advance(days=3)
    await run.send(Reply(cents=5_000))
    assert await run.result() == Answer("pay-5000")


test_kill = kill_everywhere(agent, Ask("o-1"), script=happy_path, around=bank)
