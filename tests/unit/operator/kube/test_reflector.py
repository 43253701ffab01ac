"""The reflector ends equal to the server, whatever happens between them.

Each fault was seen to lose objects, or to stop the process, in other clients.
"""

import asyncio

import pytest

from pinfleet_operator.errors import Bug
from pinfleet_operator.kube.reflector import STALE_SECONDS
from tests.fakes.faults import Answer, Break, Cut, Silence, is_list, is_resume, is_sync
from tests.fakes.reflection import Bench, Json


async def test_a_snapshot_and_every_change_reach_the_sink_in_stream_order(bench: Bench) -> None:
    """A snapshot and every change reach the sink in stream order."""
    bench.create("b", "a")
    await bench.synced()
    bench.create("c")
    bench.set_phase("a", "Running")
    bench.delete("b")
    await bench.equal()
    assert [call for call, _ in bench.sink.told] == ["replace", "upsert", "upsert", "remove"]
    versions = [int(version) for _, version in bench.sink.told]
    assert versions == sorted(versions)


async def test_the_snapshot_counts_only_after_the_bookmark_that_ends_it(bench: Bench) -> None:
    """A watch-list that breaks among its initial events starts over; nothing resumes from an initial event."""
    bench.create(*(f"run-{n}" for n in range(100)))
    bench.server.inject(Break(after_lines=40, how="reset"), is_sync)
    await bench.synced()
    assert bench.sink.objects == bench.truth()
    assert [call for call, _ in bench.sink.told] == ["replace"]
    assert not any("resourceVersion=" in request for request in bench.server.requests)


async def test_a_snapshot_is_read_as_it_comes(bench: Bench) -> None:
    """Objects are read one by one while they arrive: neither their texts nor the work pile up until the last."""
    bench.create(*(f"run-{n}" for n in range(100)))
    bench.server.inject(Break(after_lines=40, how="reset"), is_sync)
    read: list[Json] = []
    decode = bench.reflector._decode

    def note(raw: bytes) -> Json:
        read.append(decode(raw))
        return read[-1]

    bench.reflector._decode = note
    await bench.synced()
    assert len(read) == 40 + 100  # those of the stream that broke too


@pytest.mark.parametrize("how", ["end", "reset", "truncate", "garbage"])
async def test_a_stream_that_breaks_is_resumed_without_loss(bench: Bench, how: str) -> None:
    """A stream that ends, is reset, truncated or garbage is resumed where it was, without a new snapshot."""
    bench.create("a")
    bench.server.inject(Break(after_lines=3, how=how), is_sync)  # type: ignore[arg-type]  # of the parameters
    await bench.synced()
    bench.create("b", "c", "d")
    bench.delete("a")
    await bench.equal()
    assert bench.reflector.snapshots == 1


@pytest.mark.parametrize("how", ["end", "garbage", "truncate"])
async def test_a_break_among_initial_events_of_any_kind_starts_over(bench: Bench, how: str) -> None:
    """Whatever ends a watch-list early, the next attempt sees everything."""
    bench.create("a", "b", "c")
    bench.server.inject(Break(after_lines=1, how=how), is_sync)  # type: ignore[arg-type]  # of the parameters
    await bench.synced()
    assert bench.sink.objects == bench.truth()


async def test_what_was_deleted_in_a_410_gap_leaves_the_sink(bench: Bench) -> None:
    """A 410 event brings a new snapshot that sweeps what was deleted unseen."""
    bench.create(*(f"run-{n}" for n in range(50)))
    bench.server.inject(Break(after_lines=51, how="end"), is_sync)
    bench.server.inject(Answer(503), is_resume)
    await bench.synced()
    bench.delete(*(f"run-{n}" for n in range(30)))
    bench.server.memory.compact()
    await bench.equal()
    assert len(bench.sink.objects) == 20
    assert bench.reflector.snapshots == 2


async def test_a_410_as_http_status_is_a_410(bench: Bench) -> None:
    """An HTTP 410 to a watch brings a new snapshot, as the event does."""
    bench.create("a", "b")
    bench.server.inject(Break(after_lines=3, how="end"), is_sync)
    bench.server.inject(Answer(410, "too old"), is_resume)
    await bench.synced()
    bench.delete("a")
    await bench.sink.until(lambda: bench.reflector.snapshots == 2)
    await bench.equal()


@pytest.mark.parametrize("code", [429, 500, 503, 504])
async def test_an_error_event_that_is_no_410_is_a_pause(bench: Bench, code: int) -> None:
    """An ERROR event of another kind ends neither the reflector nor its place in the history."""
    bench.create("a")
    bench.server.inject(Break(after_lines=2, how="error", code=code), is_sync)
    await bench.synced()
    bench.create("b")
    await bench.equal()
    assert bench.reflector.snapshots == 1
    assert len(bench.clock.pauses) == 1


async def test_error_events_in_a_row_bring_a_new_snapshot(bench: Bench) -> None:
    """Where resuming itself is answered by errors again and again, resuming is given up."""
    bench.server.inject(Break(after_lines=1, how="end"), is_sync)
    bench.server.inject(Break(after_lines=0, how="error", code=500), is_resume, times=3)
    await bench.synced()
    await bench.sink.until(lambda: bench.reflector.snapshots == 2)


@pytest.mark.parametrize("fault", [Answer(500), Answer(429, retry_after="0"), Answer(403), Answer(401), Cut()])
async def test_no_refusal_ends_the_reflector(bench: Bench, fault: Answer | Cut) -> None:
    """Statuses and cut connections, at the snapshot and at the resume, are pauses."""
    bench.create("a")
    bench.server.inject(fault, is_sync, times=3)
    bench.server.inject(fault, is_resume, times=3)
    bench.server.inject(Break(after_lines=2, how="end"), is_sync)
    await bench.synced()
    bench.create("b")
    await bench.equal()
    assert bench.reflector.snapshots == 1


async def test_the_servers_own_wish_for_a_pause_is_kept(bench: Bench) -> None:
    """Retry-After is the least that is waited."""
    bench.server.inject(Answer(429, retry_after="7"), is_sync)
    await bench.synced()
    assert bench.clock.pauses == [7.0]


async def test_pauses_double_up_to_a_bound_and_begin_anew_after_an_event(bench: Bench) -> None:
    """A server that is down for long is asked every ten seconds at most."""
    bench.reflector._backoff._jitter = lambda: 0.0
    bench.server.inject(Answer(503), is_sync, times=9)
    await bench.synced()
    assert bench.clock.pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


async def test_a_watch_list_that_hangs_is_replaced_by_a_paged_list(bench: Bench) -> None:
    """A snapshot that does not come to its end within the limit is read page by page instead."""
    bench.create(*(f"run-{n}" for n in range(1201)))
    bench.server.inject(Break(after_lines=7, how="hang"), is_sync)
    bench.reflector._sync_seconds = 0.1
    await bench.synced()
    assert bench.sink.objects == bench.truth()
    assert sum("limit=500" in request for request in bench.server.requests) == 3
    bench.create("late")
    await bench.equal()


async def test_a_server_without_watch_list_is_read_page_by_page(bench: Bench) -> None:
    """A refused watch-list falls back to LIST and watch, and is not asked for again."""
    bench.create("a")
    bench.server.inject(Answer(422, "sendInitialEvents is forbidden"), is_sync, times=9)
    await bench.synced()
    bench.create("b")
    await bench.equal()
    bench.reflector.resync()
    await bench.reflector.synced.wait()
    assert sum("sendInitialEvents" in request for request in bench.server.requests) == 1


async def test_a_continue_token_that_expires_starts_the_list_over(bench: Bench) -> None:
    """A 410 between two pages is no end, and no half of a list counts."""
    bench.create(*(f"run-{n:04}" for n in range(600)))
    bench.server.inject(Answer(422, "no watch-list"), is_sync)
    bench.server.inject(Answer(410, "expired"), lambda request: "continue" in request.query)
    await bench.synced()
    assert bench.sink.objects == bench.truth()
    assert [call for call, _ in bench.sink.told] == ["replace"]


async def test_a_list_that_fails_is_tried_again(bench: Bench) -> None:
    """The fallback has the same patience."""
    bench.create("a")
    bench.server.inject(Answer(422, "no watch-list"), is_sync)
    bench.server.inject(Answer(500), is_list, times=2)
    await bench.synced()
    assert bench.sink.objects == bench.truth()


async def test_a_silent_stream_is_given_up_and_resumed(bench: Bench) -> None:
    """Neither event nor bookmark within the limit: the connection is taken for dead."""
    bench.create("a")
    bench.server.inject(Break(after_lines=2, how="hang"), is_sync)
    await bench.synced()
    bench.create("b")
    await bench.equal()
    assert bench.reflector.snapshots == 1


async def test_a_watch_that_is_never_answered_is_given_up(bench: Bench) -> None:
    """A server that takes the request and says nothing, not even a status, is asked again."""
    bench.server.inject(Silence(), is_sync)
    bench.create("a")
    await bench.synced()
    assert bench.sink.objects == bench.truth()


async def test_a_bookmark_moves_the_place_to_resume_from(bench: Bench) -> None:
    """After a bookmark the events before it are not asked for again."""
    bench.create("a")
    bench.server.inject(Break(after_lines=3, how="end"), is_sync)
    await bench.synced()
    bench.server.memory.create("pods", "ns", {"metadata": {"name": "other"}})
    bench.server.send_bookmarks()
    version = str(bench.server.memory.resource_version)
    await bench.sink.until(lambda: ("bookmark", version) in bench.sink.told)
    bench.create("b")
    await bench.equal()
    assert any(f"resourceVersion={version}" in request for request in bench.server.requests)


@pytest.mark.parametrize("shown_by", ["event", "snapshot"])
async def test_a_resourceversion_that_went_back_ends_the_process(bench: Bench, shown_by: str) -> None:
    """After an etcd was restored no number can be compared: the sink would keep ghosts and refuse what is newer."""
    bench.create("a", "b")
    await bench.synced()
    bench.server.memory.restore(101)
    if shown_by == "event":
        bench.server.send_bookmarks()
    else:
        bench.reflector.resync()
    assert bench.task is not None
    with pytest.raises(Bug, match="the resourceVersion went back from 102 to 101"):
        async with asyncio.timeout(5):
            await bench.task
    assert [call for call, _ in bench.sink.told] == ["replace"]


async def test_a_snapshot_that_expires_at_once_is_not_taken_in_a_hot_loop(bench: Bench) -> None:
    """Each snapshot without a single event after it is followed by a pause."""
    bench.server.inject(Break(after_lines=1, how="error", code=410), is_sync, times=5)
    await bench.synced()
    await bench.sink.until(lambda: bench.reflector.snapshots == 6)
    assert len(bench.clock.pauses) == 5


async def test_resync_takes_a_new_snapshot_and_clears_synced_until_it_is_there(bench: Bench) -> None:
    """Whoever asks for a resync can wait for it."""
    bench.create("a")
    await bench.synced()
    bench.reflector.resync()
    assert not bench.reflector.synced.is_set()
    async with asyncio.timeout(5):
        await bench.reflector.synced.wait()
    assert bench.reflector.snapshots == 2
    bench.create("b")
    await bench.equal()


async def test_after_long_silence_a_new_snapshot_is_taken_instead_of_a_resume(bench: Bench) -> None:
    """A restored server may answer an old resourceVersion with silence for ever."""
    bench.create("a")
    bench.server.inject(Break(after_lines=2, how="hang"), is_sync)
    await bench.synced()
    bench.clock.ahead_seconds = STALE_SECONDS + 1
    bench.create("b")
    await bench.sink.until(lambda: bench.reflector.snapshots == 2)
    assert bench.sink.objects == bench.truth()
    assert not any("resourceVersion=" in request for request in bench.server.requests)


async def test_streams_that_end_at_once_are_not_asked_for_in_a_hot_loop(bench: Bench) -> None:
    """A clean end without an event is followed by a growing pause."""
    bench.server.inject(Break(after_lines=1, how="end"), is_sync)
    bench.server.inject(Break(after_lines=0, how="end"), is_resume, times=4)
    await bench.synced()
    bench.create("a")
    await bench.equal()
    assert len(bench.clock.pauses) == 4
    assert bench.clock.pauses[3] > bench.clock.pauses[0]


async def test_a_cancelled_reflector_leaves_no_connection_behind(bench: Bench) -> None:
    """It ends at once, and so does its stream."""
    await bench.synced()
    assert bench.task is not None
    bench.task.cancel()
    await asyncio.gather(bench.task, return_exceptions=True)
    connector = bench.kube._session.connector
    assert connector is not None
    assert not connector._acquired
