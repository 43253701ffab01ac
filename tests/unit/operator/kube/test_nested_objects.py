"""An object that nests deeper than the stack is read like any other, wherever the server shows it.

The API server takes 10,000 levels. One such run, of 2 KiB, once ended the operator, and each one that was started anew.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import cast

import msgspec
import pytest

from pinfleet_operator.api.run import RunRecord, decode_run
from pinfleet_operator.kube.api import Kube
from pinfleet_operator.kube.reflector import Reflector
from pinfleet_operator.kube.resources import AGENT_RUNS
from tests.fakes.reflection import QuickClock

LEVELS = 9_000


def a_run(name: str, given: bytes = b"{}", managed: bytes = b"{}", result: bytes = b"1") -> bytes:
    """An AgentRun."""
    return (
        b'{"metadata": {"uid": "%(name)s", "namespace": "ns", "name": "%(name)s", "resourceVersion": "7",'
        b' "creationTimestamp": "2026-05-01T12:00:00Z", "managedFields": %(managed)s},'
        b' "spec": {"task": {"agentDeployment": "fleet", "input": %(given)s}}, "status": {"result": %(result)s}}'
    ) % {b"name": name.encode(), b"given": given, b"managed": managed, b"result": result}


LISTS = b"[" * LEVELS + b"]" * LEVELS
OBJECTS = b'{"a":' * LEVELS + b"1" + b"}" * LEVELS
DEEP = [
    a_run("deep", given=LISTS),
    a_run("deep", given=OBJECTS, managed=OBJECTS),  # of a schemaless field the server manages each level
    a_run("deep", given=b'{"text": "[\\"[", "list": [%s]}' % LISTS),
    a_run("deep", given=LISTS, result=LISTS),
]
BOOKMARK = (
    b'{"type": "BOOKMARK", "object": {"metadata":'
    b' {"resourceVersion": "8", "annotations": {"k8s.io/initial-events-end": "true"}}}}'
)


class Runs:
    """A sink of records."""

    def __init__(self) -> None:
        self.found: dict[str, RunRecord] = {}
        self.moved = asyncio.Event()

    def replace(self, items: list[RunRecord], _: str) -> None:
        """Mark and sweep."""
        self.found = {item.name: item for item in items}

    def upsert(self, item: RunRecord, _: str) -> None:
        """Keep it."""
        self.found[item.name] = item
        self.moved.set()

    def remove(self, item: RunRecord, _: str) -> None:
        """Drop it."""
        del self.found[item.name]
        self.moved.set()

    def bookmark(self, _: str) -> None:
        """Nothing changed."""


class Scripted:
    """A server whose watch has these lines, and then waits."""

    def __init__(self, lines: list[bytes], page: bytes = b"") -> None:
        self.lines, self.page = lines, page

    async def watch(self, *_: object, **__: object) -> AsyncGenerator[bytes, None]:
        """The lines, once."""
        lines, self.lines = self.lines, []
        for line in lines:
            yield line
        await asyncio.sleep(3600)

    async def list_page(self, *_: object, **__: object) -> bytes:
        """The one page."""
        return self.page


def added(run: bytes, kind: bytes = b"ADDED") -> bytes:
    """A watch's line."""
    return b'{"type": "%s", "object": %s}' % (kind, run)


async def seen(server: Scripted, moves: int = 0) -> dict[str, RunRecord]:
    """What the sink holds after the snapshot and so many changes."""
    sink = Runs()
    reflector = Reflector(cast("Kube", server), AGENT_RUNS, decode_run, sink, clock=QuickClock(), sync_seconds=0.5)
    task = asyncio.create_task(reflector.run())
    try:
        async with asyncio.timeout(5):
            synced = asyncio.create_task(reflector.synced.wait())
            await asyncio.wait({task, synced}, return_when=asyncio.FIRST_COMPLETED)
            for _ in range(moves):
                moved = asyncio.create_task(sink.moved.wait())
                await asyncio.wait({task, moved}, return_when=asyncio.FIRST_COMPLETED)
                sink.moved.clear()
        assert not task.done(), task.result()
        return sink.found
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("deep", DEEP)
async def test_it_is_read_from_a_snapshot(deep: bytes) -> None:
    """Beside it, every other run is read."""
    found = await seen(Scripted([added(a_run("a")), added(deep), BOOKMARK]))
    assert [(run.name, run.is_input_too_deep) for run in found.values()] == [("a", False), ("deep", True)]


@pytest.mark.parametrize("deep", DEEP)
async def test_it_is_read_from_a_change(deep: bytes) -> None:
    """It comes, and goes."""
    found = await seen(Scripted([BOOKMARK, added(deep.replace(b'"7"', b'"9"'))]), moves=1)
    assert [(run.name, run.is_input_too_deep) for run in found.values()] == [("deep", True)]
    gone = [BOOKMARK, added(deep.replace(b'"7"', b'"9"')), added(deep.replace(b'"7"', b'"10"'), b"DELETED")]
    assert await seen(Scripted(gone), moves=1) == {}


@pytest.mark.parametrize("deep", DEEP)
async def test_it_is_read_from_a_page(deep: bytes) -> None:
    """Where the server has no watch-list, too."""
    page = b'{"metadata": {"resourceVersion": "8"}, "items": [%s, %s]}' % (a_run("a"), deep)
    found = await seen(Scripted([], page))  # its watch says nothing, so that the collection is listed
    assert [(run.name, run.is_input_too_deep) for run in found.values()] == [("a", False), ("deep", True)]


@pytest.mark.parametrize("line", [b'{"type": "ADDED", "object": ' + LISTS[:LEVELS], b"\xff", b'{"type":"\xff"}'])
async def test_a_line_that_is_no_json_ends_the_stream_and_not_the_process(line: bytes) -> None:
    """Be it cut off in the middle of its levels, or no UTF-8."""
    assert list(await seen(Scripted([added(a_run("a")), BOOKMARK, line]))) == ["a"]


def test_a_run_with_an_input_of_200_levels_is_served() -> None:
    """The bound is the same whatever the stack's depth is."""
    for levels, is_too_deep in ((200, False), (201, True), (1_100, True)):
        record = decode_run(a_run("run", given=b"[" * levels + b"]" * levels))
        assert record.is_input_too_deep is is_too_deep


def test_what_is_no_run_raises_one_kind_of_error() -> None:
    """Whoever decodes catches MsgspecError, and nothing else comes."""
    for raw in (b"", b"[" * 5_000, b'{"metadata": {"uid": "\xff"}}', b"{}"):
        with pytest.raises(msgspec.MsgspecError):
            decode_run(raw)
