"""What a reflector hands to its sink, and what it keeps from it."""

import asyncio
import json
from collections.abc import AsyncGenerator

import pytest

from pinfleet_operator.kube.reflector import Reflector
from pinfleet_operator.kube.resources import AGENT_RUNS
from tests.fakes.kube import MemoryKube
from tests.fakes.memory import Memory
from tests.fakes.reflection import Bench, Json, QuickClock, RecordingSink


class Scripted(MemoryKube):
    """A server whose watch says these lines and then nothing."""

    def __init__(self, events: list[Json]) -> None:
        super().__init__(Memory())
        self._events = events

    async def watch(self, *_: object, **__: object) -> AsyncGenerator[bytes, None]:
        """The script."""
        for event in self._events:
            yield json.dumps(event).encode()
        await asyncio.Event().wait()


def event(kind: str, name: str, version: int, **annotations: str) -> Json:
    """A line of a watch."""
    return {
        "type": kind,
        "object": {"metadata": {"uid": name, "resourceVersion": str(version), "annotations": annotations}},
    }


async def test_changes_between_initial_events_belong_to_the_snapshot() -> None:
    """Until the bookmark the stream may also change and delete: the snapshot is what is left."""
    end = {"k8s.io/initial-events-end": "true"}
    script = [
        event("ADDED", "a", 5),
        event("ADDED", "b", 3),
        event("MODIFIED", "b", 7),
        event("DELETED", "a", 8),
        event("BOOKMARK", "", 8),
        event("ADDED", "c", 9),
        event("BOOKMARK", "", 9, **end),
        event("MODIFIED", "c", 10),
    ]
    sink = RecordingSink()
    reflector: Reflector[Json] = Reflector(Scripted(script), AGENT_RUNS, json.loads, sink, clock=QuickClock())
    task = asyncio.create_task(reflector.run())
    await sink.until(lambda: len(sink.told) == 2)
    assert sink.told == [("replace", "9"), ("upsert", "10")]
    assert {uid: item["metadata"]["resourceVersion"] for uid, item in sink.objects.items()} == {"b": "7", "c": "10"}
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_unreadable_object_is_left_out_and_stops_nothing(bench: Bench) -> None:
    """One object that does not decode costs nobody else a thing; when it is deleted a snapshot sweeps it."""

    def decode(raw: bytes) -> Json:
        item: Json = json.loads(raw)
        if item.get("status", {}).get("phase") == "Nonsense":
            raise ValueError("no such phase")
        return item

    bench.reflector._decode = decode
    bench.create("a", "b")
    await bench.synced()
    bench.set_phase("a", "Nonsense")
    bench.create("c")
    await bench.sink.until(lambda: len(bench.sink.objects) == 3)
    assert bench.reflector.unreadable == 1
    bench.delete("a")
    await bench.equal()
    assert bench.reflector.snapshots == 2


async def test_selectors_bind_snapshot_list_and_watch_alike(bench: Bench) -> None:
    """An object that leaves the selector is removed, one that comes into it is added."""
    sink = RecordingSink()
    reflector: Reflector[Json] = Reflector(
        bench.kube,
        AGENT_RUNS,
        json.loads,
        sink,
        clock=bench.clock,
        namespace="ns",
        field_selector="status.phase=Running",
    )
    bench.create("a", "b")
    bench.set_phase("a", "Running")
    task = asyncio.create_task(reflector.run())
    await reflector.synced.wait()
    assert [item["metadata"]["name"] for item in sink.objects.values()] == ["a"]
    bench.set_phase("b", "Running")
    bench.set_phase("a", "Parked")
    await sink.until(lambda: [item["metadata"]["name"] for item in sink.objects.values()] == ["b"])
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_mistake_in_the_sink_ends_the_reflector_with_that_mistake(bench: Bench) -> None:
    """A sink that raises has lost its place: nobody can go on from there."""

    def broken(_item: Json, _version: str) -> None:
        raise RuntimeError("a mistake")

    await bench.synced()
    setattr(bench.sink, "upsert", broken)  # noqa: B010 - a mistake that mypy would not let pass
    bench.create("a")
    assert bench.task is not None
    with pytest.raises(RuntimeError, match="a mistake"):
        await bench.task
    bench.task = None
