"""The agent that the simulated pods run: does what its input says."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from pinfleet import Agent, Ctx, current
from tests.sim.pod import OWNER, SimPod
from tests.sim.record import Begun


@dataclass(frozen=True)
class Ask:
    """The input of a run."""

    steps: int = 3
    seconds: float = 1.0  # of each step
    sleep_after: int = 0  # after this step it sleeps; 0: never
    sleep_seconds: float = 0.0
    fail_at: int = 0  # this step raises; 0: none
    die_at: int = 0  # this step ends the process; 0: none
    die_epochs: int = 1_000  # only in epochs up to this one
    deaf: bool = False  # its steps ignore cancellation
    result_bytes: int = 0
    rolls: bool = False  # its result is another one at each execution
    receives: int = 0  # messages that it waits for, before its steps
    secret: str = ""  # no word of it may be seen outside


def make_agent() -> Agent:
    """A new agent with one step."""
    agent = Agent("sim")

    @agent.step
    async def work(step: int, ask: Ask) -> int:
        pod = OWNER.get()
        assert pod is not None
        run = current()
        now = asyncio.get_running_loop().time()
        pod.record.begun.append(Begun(now, run.uid, run.name, step, run.epoch, run.pod_uid, run.version))
        if step == ask.die_at and run.epoch <= ask.die_epochs:
            asyncio.get_running_loop().call_soon(pod.kill, 7)
            await asyncio.sleep(3600)
        if step == ask.fail_at:
            raise ValueError(f"step {step} fails, as told")
        await (_deaf(pod, ask.seconds) if ask.deaf else asyncio.sleep(ask.seconds))
        return step

    @agent.main
    async def main(ctx: Ctx, ask: Ask) -> dict[str, object]:
        total, pod = 0, OWNER.get()
        for _ in range(ask.receives):
            total += await ctx.receive(int)
        assert pod is not None
        pod.record.executions += 1
        for step in range(1, ask.steps + 1):
            total += await work(step, ask)
            if step == ask.sleep_after:
                await ctx.sleep(timedelta(seconds=ask.sleep_seconds))
        rolled = pod.record.executions if ask.rolls else 0
        return {"total": total, "padding": "x" * ask.result_bytes, "rolled": rolled}

    return agent


async def _deaf(pod: SimPod, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while pod.is_alive and loop.time() < until:
        try:
            await asyncio.sleep(until - loop.time())
        except asyncio.CancelledError:
            continue
