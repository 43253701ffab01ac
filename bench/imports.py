"""`imports`: what an agent's module pays for importing the SDK, held against `import asyncio, sqlite3`.

Fresh processes alternate, so that whatever else the machine does meets all of them. Both the time on the wall and the
CPU time are those of the whole process, the interpreter's own start included. No cluster is needed.
"""

import os
import resource
import subprocess
import sys
import time
from statistics import median

from bench.report import Row, judged, save

BARE = "import asyncio, sqlite3"
OURS = {
    "import pinfleet": "import pinfleet",
    "from pinfleet import Agent, Ctx, Call": "from pinfleet import Agent, Ctx, Call",
    "an agent with a step, a tool and its manifest": """
from pinfleet import Agent, Ctx, Call
agent = Agent("a")
@agent.step
async def step(n: int) -> int: ...
@agent.tool
async def tool(call: Call, n: int) -> int: ...
@agent.main
async def main(ctx: Ctx, n: int) -> int: ...
agent.manifest
""",
}
MOST = 2.0


def started(code: str) -> tuple[float, float]:
    """Milliseconds on the wall, and of CPU, of one fresh process."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    after, took = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return 1000 * took, 1000 * cpu


def main() -> bool:
    """Run the bench; returns whether every goal is met."""
    processes = int(os.environ.get("BENCH_PROCESSES", "30"))
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in (BARE, *OURS)}
    for _ in range(processes):
        for name, times in taken.items():
            times.append(started(OURS.get(name, name)))
    rows: list[Row] = []
    for kind, unit in enumerate(("ms", "ms of CPU")):
        of = {name: median(each[kind] for each in times) for name, times in taken.items()}
        n = f"medians of {processes}"
        rows += [judged(f"{name}, {unit}", of[name], "ms", of[BARE], most=MOST, n=n) for name in OURS]
    save("imports", rows, {}, [{name: times} for name, times in taken.items()])
    return all(row.met is not False for row in rows)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
