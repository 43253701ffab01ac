"""The test agent that talks with people: it waits for a message, asks for an approval, then acts.

The trace is a file outside of the journal (variable TRACE), so that it shows what ran, not what was recorded.
"""

import json
import os
import time
from dataclasses import dataclass

from pinfleet import Agent, Ctx, Denied, current

agent = Agent("people")


@dataclass(frozen=True)
class Ask:
    """The input of a run."""

    messages: int = 1  # that it waits for, one after the other
    asks: bool = True  # for an approval, after the last of them


@dataclass(frozen=True)
class Reply:
    """A message to it."""

    cents: int


def trace(step: int) -> None:
    """Say outside of the journal that a step's body begins."""
    run = current()
    where = {"epoch": run.epoch, "pod": run.pod_uid, "version": run.version}
    line = {"at": time.time(), "run": run.name, "step": step} | where
    with open(os.environ["TRACE"], "a", encoding="utf-8") as file:  # noqa: PTH123 - one write, appended whole
        file.write(json.dumps(line) + "\n")


@agent.step
async def work(step: int, cents: int) -> int:
    """One step."""
    trace(step)
    return cents


@agent.main
async def main(ctx: Ctx, ask: Ask) -> dict[str, object]:
    """One step for each message; the last one needs an approval."""
    reply, by = Reply(0), ""
    for step in range(1, ask.messages + 1):
        reply = await ctx.receive(Reply)
        if ask.asks and step == ask.messages:
            try:
                by = (await ctx.approve("refund", show={"cents": reply.cents}, who="finance")).by
            except Denied as no:
                return {"denied": no.by}
        await work(step, reply.cents)
    return {"cents": reply.cents, "by": by}
