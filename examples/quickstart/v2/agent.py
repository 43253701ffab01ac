"""The research agent, second version: its report has a summary.

Each step takes a moment, so that a run is still in flight when the next version is deployed. The result names the
version whose code made it. ``QUICKSTART_STEP_SECONDS`` sets the moment; ``QUICKSTART_TRACE`` names a file outside the
journal to which every execution of a step adds a line, which shows that no recorded step ran again.
"""

import asyncio
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import pinfleet

VERSION = "v2"
STEP_SECONDS = float(os.environ.get("QUICKSTART_STEP_SECONDS", "0.2"))
TRACE = os.environ.get("QUICKSTART_TRACE")

agent = pinfleet.Agent("research")


@dataclass(frozen=True)
class Question:
    """What to look into."""

    topic: str = "tea"
    sources: int = 50


@dataclass(frozen=True)
class Finding:
    """What one source says."""

    source: int
    text: str


@agent.step
async def look_up(topic: str, source: int) -> Finding:
    """Read one source."""
    trace(source)
    await asyncio.sleep(STEP_SECONDS)
    return Finding(source, f"source {source} on {topic}")


@agent.step
async def summarise(findings: int, topic: str) -> str:
    """Write the summary that the first version did not have."""
    trace(findings + 1)
    await asyncio.sleep(STEP_SECONDS)
    return f"{findings} sources agree on {topic}"


@agent.main
async def research(ctx: pinfleet.Ctx, question: Question) -> dict[str, object]:
    """Read every source, sum up, and report."""
    findings: list[Finding] = []
    for source in range(1, question.sources):  # the last of the fifty steps is the summary
        findings.append(await look_up(question.topic, source))
        await think(ctx)
    summary = await summarise(len(findings), question.topic)
    return {"version": VERSION, "topic": question.topic, "findings": len(findings), "summary": summary}


async def think(ctx: pinfleet.Ctx) -> None:
    """Take a moment between two steps; code outside steps runs again on a replay, where it need not wait again."""
    if not ctx.replaying:
        await asyncio.sleep(STEP_SECONDS / 2)


def trace(step: int) -> None:
    """Add a line that says which step runs, for which run, where."""
    if TRACE:
        run = pinfleet.current()
        where = {"version": VERSION, "epoch": run.epoch, "pod": run.pod_uid}
        line = {"at": time.time(), "run": run.name, "step": step, **where}
        with Path(TRACE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
