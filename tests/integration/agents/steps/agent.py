"""The test agent: does as many steps as it is told, sleeps where it is told, and traces every beginning of a step.

The trace is a file outside of the journal (variable TRACE), so that it shows what ran, not what was recorded.
"""

import asyncio
import ctypes
import json
import os
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from pinfleet import Agent, Ctx, current

agent = Agent("steps")


@dataclass(frozen=True)
class Ask:
    """The input of a run."""

    steps: int = 3
    seconds: float = 0.05  # of each step
    sleep_after: int = 0  # after this step it sleeps; 0: never
    sleep_seconds: float = 0.0
    fail_at: int = 0  # this step raises; 0: none
    die_at: int = 0  # this step ends the process; 0: none
    result_bytes: int = 0  # padding of the result
    deaf: bool = False  # ignores cancellation
    gate_at: int = 0  # this step waits until there is a file `gate`; 0: none
    gate: str = ""
    hang_at: int = 0  # this step stops the whole process, its server too, as a deadlocked C library does; 0: none
    eat_at: int = 0  # this step takes all the memory that it gets; 0: none
    say: str = ""  # comes back in the result


@dataclass(frozen=True)
class Answer:
    """The result of a run."""

    code: str  # constant of the version that answered
    steps: int
    padding: str = ""
    nothing: None = None  # a null that must come through


def trace(step: int) -> None:
    """Say outside of the journal that a step's body begins."""
    run = current()
    where = {"epoch": run.epoch, "pod": run.pod_uid, "version": run.version}
    line = {"at": time.time(), "run": run.name, "step": step} | where
    with open(os.environ["TRACE"], "a", encoding="utf-8") as file:  # noqa: PTH123 - one write, appended whole
        file.write(json.dumps(line) + "\n")


@agent.step(tokens=lambda step: 10 if step else 0)
async def work(step: int, ask: Ask) -> int:
    """One step."""
    trace(step)
    if step == ask.die_at:
        os._exit(7)
    if step == ask.fail_at:
        raise ValueError(f"step {step} fails, as told")
    while step == ask.gate_at and not Path(ask.gate).exists():  # noqa: ASYNC110, ASYNC240 - one look
        await asyncio.sleep(0.05)
    if step == ask.hang_at:
        hang()
    if step == ask.eat_at:
        eat()
    await asyncio.sleep(ask.seconds)
    return step


def hang() -> None:
    """Hold the interpreter's lock for ever: no thread of this process runs again."""
    while True:
        ctypes.PyDLL(None).sleep(3600)  # PyDLL keeps the lock during the call


def eat() -> None:
    """Take memory until the container's limit kills the process."""
    taken = []
    while True:
        taken.append(bytearray(16 * 2**20))


@agent.main
async def main(ctx: Ctx, ask: Ask) -> Answer:
    """All steps, one after the other."""
    for step in range(1, ask.steps + 1):
        try:
            await work(step, ask)
        except asyncio.CancelledError:
            if not ask.deaf:
                raise
            await asyncio.sleep(3600)
        if step == ask.sleep_after:
            await ctx.sleep(timedelta(seconds=ask.sleep_seconds))
    return Answer(os.environ["CODE"], ask.steps, ask.say + "x" * ask.result_bytes)
