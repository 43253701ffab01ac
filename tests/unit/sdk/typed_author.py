"""What a type checker says of an author's code; ``test_typing.py`` holds that each line with an ignore is flagged."""

from dataclasses import dataclass
from typing import assert_type

from pinfleet import Agent, Approval, Call, Ctx, RecordedRun, Secret

agent = Agent("typed")


@dataclass
class Receipt:
    """What was paid."""

    id: str


@agent.step
async def find(order: str, *, deep: bool = False) -> list[int]:
    """Take a str, return numbers."""
    return [len(order), deep]


@agent.step(retries=2)
def count(numbers: list[int]) -> int:
    """Be sync."""
    return sum(numbers)


@agent.tool
async def refund(call: Call, order: str, cents: int) -> Receipt:
    """Be async."""
    return Receipt(f"{call.key} {order} {cents}")


@agent.tool(resend=True, approve=lambda cents: cents > 1, show=("cents",))
def charge(call: Call, cents: int) -> Receipt:
    """Be sync."""
    return Receipt(f"{call.key} {cents}")


async def main(ctx: Ctx) -> None:
    """Use all of it."""
    assert_type(await find("o", deep=True), list[int])
    assert_type(await count([1]), int)
    assert_type(await refund("o", 5), Receipt)
    assert_type(await refund("o", cents=5), Receipt)
    assert_type(await charge(5), Receipt)
    assert_type(await ctx.receive(Receipt), Receipt)
    assert_type(await ctx.approve("it", show={}), Approval)
    assert_type(await ctx.map(find, ["a"]), list[list[int]])
    await find(3)  # type: ignore[arg-type]
    await find("o", depth=1)  # type: ignore[call-arg]
    await refund("o", "5")  # type: ignore[arg-type]
    await refund("o")  # type: ignore[call-arg]
    await refund(Call("k"), "o", 5)  # type: ignore[call-arg, arg-type]
    await charge(cents="5")  # type: ignore[arg-type]
    _: str = await count([1])  # type: ignore[assignment]
    await ctx.receive(3)  # type: ignore[arg-type]


@agent.tool  # type: ignore[arg-type]
async def lacks_the_call(cents: int) -> int:
    """Take no call first."""
    return cents


@agent.step
async def log_in(token: Secret[str]) -> str:
    """Take a secret."""
    assert_type(token.reveal(), str)
    return await log_in("clear")  # type: ignore[arg-type]


@agent.migration(from_=1, to=2)
def grow(run: RecordedRun) -> None:
    """Take the recorded run."""
    run.add("find", [1], arguments={"order": "o", "deep": True})


@agent.migration(from_=2, to=3)  # type: ignore[arg-type]
def takes_a_number(run: int) -> None:
    """Take something else."""
