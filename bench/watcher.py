"""An idle watcher, a process of its own: `python -m bench.watcher TARGET PATH` reads a watch and does nothing else."""

import sys

import msgspec
import uvloop

from bench.http1 import Target, watch


async def follow(target: Target, path: str) -> None:
    """Read for ever."""
    async for _ in watch(target, path):
        pass


if __name__ == "__main__":
    uvloop.run(follow(msgspec.json.decode(sys.argv[1], type=Target), sys.argv[2]))
