"""An agent that does what its input says; each execution of a step adds a line to the file ``trace`` beside it."""

import asyncio
import json
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pinfleet

HERE = Path.cwd()
agent = pinfleet.Agent("scripted")


def wait_for(name: str) -> None:
    """Block the calling thread until a file is there."""
    while not (HERE / name).exists():
        time.sleep(0.005)


def trace(n: int) -> None:
    """Add a line."""
    run = pinfleet.current()
    with (HERE / "trace").open("a") as file:
        file.write(json.dumps({"run": run.name, "n": n, "epoch": run.epoch, "pod": run.pod_uid}) + "\n")


@agent.step
async def work(n: int, seconds: float) -> int:
    """Take some time."""
    trace(n)
    await asyncio.sleep(seconds)
    return n


@agent.step
def hang() -> None:
    """Block a thread."""
    trace(0)
    wait_for("go")


@agent.step
async def leave() -> None:
    """End the process."""
    os._exit(7)


@agent.main
async def main(ctx: pinfleet.Ctx, ask: dict[str, Any]) -> Any:
    """Do it."""
    for n in range(ask.get("steps", 0)):
        await work(n, ask.get("seconds", 0.0))
    match ask.get("then"):
        case "block":
            wait_for("go")
        case "exit" if pinfleet.current().epoch == 1:
            await leave()
        case "hang":
            await hang()
        case "sleep":
            await ctx.sleep(timedelta(hours=ask["hours"]))
            await work(99, 0.0)
        case "forever":
            await asyncio.Event().wait()
    return ask
