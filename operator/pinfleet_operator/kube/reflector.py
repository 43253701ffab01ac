"""Keeps a sink equal to a collection on the API server: one snapshot, then every change in stream order.

Each step answers a way in which a watch was seen to lose objects or to die:

- The snapshot counts only after the bookmark that ends it, and nothing is resumed from an initial event, whose order
  is by name: a stream that breaks before starts over.
- A watch-list that hangs has a time limit; then the collection is read page by page.
- After a 410 the new snapshot replaces the old one whole, so that what was deleted in the gap goes too.
- Every other failure is a pause with jitter and a new connection from the last resourceVersion.
- A server that was restored from a backup may answer an old resourceVersion with silence: after a while without a word,
  or several bad events in a row, a new snapshot is taken instead.
- Once the resourceVersion is seen to have gone back, nothing that this process knows can be compared with what the
  server says: a newer state may carry a lower number. The process ends, and a new one starts from nothing.

Nothing else ends the reflector but its caller, or a mistake in the sink.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, Generic, TypeVar

import msgspec
import structlog

from pinfleet_operator.clock import Clock
from pinfleet_operator.errors import Bug, ClusterError, Gone, Rejected, Unavailable
from pinfleet_operator.kube.answers import Call, decode_status, failure
from pinfleet_operator.kube.api import Kube
from pinfleet_operator.kube.backoff import Backoff, Jitter
from pinfleet_operator.kube.events import Event, decode_event
from pinfleet_operator.kube.listing import Listing, list_all
from pinfleet_operator.kube.resources import Resource
from pinfleet_operator.kube.sink import Sink

SYNC_SECONDS: Final = 30.0  # facts: 5,000 objects take below 1 s; a watch-list that never ends was seen once
STREAM_SECONDS: Final = 600  # the server ends a watch then, so that connections spread over its replicas
STALE_SECONDS: Final = 300.0  # without a word for so long, resuming is given up
BAD_EVENTS: Final = 3  # in a row, before resuming is given up
FIRST_PAUSE_SECONDS: Final = 0.1
LAST_PAUSE_SECONDS: Final = 10.0

log = structlog.get_logger()

T = TypeVar("T")


class Reflector(Generic[T]):
    """One collection, kept equal in one sink; `run` it as a task of its own."""

    def __init__(
        self,
        kube: Kube,
        resource: Resource,
        decode: Callable[[bytes], T],
        sink: Sink[T],
        *,
        clock: Clock,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        sync_seconds: float = SYNC_SECONDS,
        stream_seconds: int = STREAM_SECONDS,
        jitter: Jitter = random.random,
    ) -> None:
        """Make a reflector that has not begun.

        Args:
            kube: where the collection is.
            resource: what is in it.
            decode: reads one object; an object on which it raises is reported and left out.
            sink: what is kept equal.
            clock: for pauses and ages.
            namespace: None: all of them.
            label_selector: as the API server takes it.
            field_selector: as the API server takes it.
            sync_seconds: time limit of a watch-list's snapshot.
            stream_seconds: when the server is to end a stream.
            jitter: a number in [0, 1) by which pauses are shortened up to half.
        """
        self.synced = asyncio.Event()  # a snapshot is in the sink, and no other one has been asked for since
        self.last_heard_at: float | None = None  # by CLOCK_BOOTTIME: last event, bookmark or snapshot
        self.resource_version = ""  # up to which the sink is equal
        self.snapshots = 0  # taken so far
        self.unreadable = 0  # objects left out so far
        self._kube, self._resource, self._decode, self._sink = kube, resource, decode, sink
        self._clock, self._backoff = clock, Backoff(FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS, jitter)
        self._namespace, self._label_selector, self._field_selector = namespace, label_selector, field_selector
        self._sync_seconds, self._stream_seconds = sync_seconds, stream_seconds
        self._has_watch_list = True  # as far as the server told
        self._may_watch_list = True  # for the next snapshot
        self._must_sync = True
        self._took_any = False  # event or bookmark, since the last snapshot
        self._bad_events = 0  # in a row
        self._turn: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Keep the sink equal until cancelled."""
        try:
            while True:
                self._turn = asyncio.create_task(self._take_turns(), name=f"reflect {self._resource.plural}")
                await asyncio.wait({self._turn})
                if not self._turn.cancelled():
                    self._turn.result()  # a mistake in the sink is nothing to go on from
        finally:
            if self._turn is not None:
                self._turn.cancel()
                await asyncio.gather(self._turn, return_exceptions=True)

    def resync(self) -> None:
        """Take a new snapshot now; `synced` is set again once the sink has it."""
        self.synced.clear()
        self._must_sync = True
        if self._turn is not None:
            self._turn.cancel()

    def silent_seconds(self) -> float | None:
        """Age of the last event, bookmark or snapshot; None: there was none."""
        return None if self.last_heard_at is None else self._clock.boottime() - self.last_heard_at

    # Turns

    async def _take_turns(self) -> None:
        while True:
            try:
                await self._turn_once()
            except ClusterError as err:
                await self._pause(err)

    async def _turn_once(self) -> None:
        silent = self.silent_seconds()
        if silent is not None and silent > STALE_SECONDS:
            self._must_sync = True
        if not self._must_sync:
            await self._follow()
        elif not self._may_watch_list:
            listing = await self._list()
            items = [item for raw in listing.items if (item := self._read(raw)) is not None]
            self._replace(items, listing.resource_version)
            self._may_watch_list = self._has_watch_list
        else:
            await self._sync_and_follow()

    async def _pause(self, err: ClusterError) -> None:
        is_gone = isinstance(err, Gone) and not self._must_sync
        if is_gone:
            self._must_sync = True
            log.info("watch_expired", resource=self._resource.plural, cause=str(err))
            if self._took_any:  # else the snapshot itself expires at once, and must not be taken in a hot loop
                return
        wish = err.retry_after_seconds if isinstance(err, Unavailable) else None
        seconds = self._backoff.next_seconds(wish)
        log.warning("watch_broken", resource=self._resource.plural, cause=str(err), pause_seconds=round(seconds, 2))
        await self._clock.sleep(seconds)

    # Snapshots

    async def _sync_and_follow(self) -> None:
        """A watch-list: its snapshot, then its changes, on one stream."""
        async with aclosing(self._watch(send_initial_events=True)) as lines:
            try:
                async with asyncio.timeout(self._sync_seconds):
                    items, resource_version = await self._collect(lines)
            except Rejected as err:
                log.info("watch_list_refused", resource=self._resource.plural, cause=str(err))
                self._has_watch_list = self._may_watch_list = False
                return
            except TimeoutError:
                log.warning("watch_list_hung", resource=self._resource.plural)
                self._may_watch_list = False
                return
            self._replace(items, resource_version)
            async for line in lines:
                self._take(self._event(line))

    async def _collect(self, lines: AsyncGenerator[bytes, None]) -> tuple[list[T], str]:
        """Read up to the bookmark that ends the snapshot; changes may come between the initial events.

        Each object is decoded at once: as text, all of them would take many times the memory that they take for good.
        """
        found: dict[str, T] = {}
        async for line in lines:
            event = self._event(line)
            if event.ends_snapshot:
                return list(found.values()), event.resource_version
            item = self._read(event.raw) if event.type in {"ADDED", "MODIFIED"} else None
            if item is not None:
                found[event.uid] = item
            elif event.type != "BOOKMARK":
                found.pop(event.uid, None)
        raise Unavailable(self._call().cannot("the stream ended before its snapshot was whole"))

    async def _list(self) -> Listing:
        return await list_all(
            self._kube,
            self._resource,
            namespace=self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
        )

    def _replace(self, items: list[T], resource_version: str) -> None:
        self._require_not_before(resource_version)
        self._sink.replace(items, resource_version)
        self.resource_version = resource_version
        self.snapshots += 1
        self._must_sync = self._took_any = False
        self.last_heard_at = self._clock.boottime()
        self.synced.set()
        log.info("synced", resource=self._resource.plural, objects=len(items), resource_version=self.resource_version)

    def _require_not_before(self, resource_version: str) -> None:
        """Raise Bug if the server knows less than it has told already."""
        if self.resource_version and int(resource_version) < int(self.resource_version):
            went = f"from {self.resource_version} to {resource_version}"
            raise Bug(self._call().cannot(f"the resourceVersion went back {went}: was the server's etcd restored?"))

    # Changes

    async def _follow(self) -> None:
        """One stream of changes from the last resourceVersion on."""
        got_any = False
        async with aclosing(self._watch()) as lines:
            async for line in lines:
                self._take(self._event(line))
                got_any = True
        if not got_any:  # a server that ends streams at once must not be asked in a hot loop
            raise Unavailable(self._call().cannot("the stream ended without an event"))

    def _watch(self, *, send_initial_events: bool = False) -> AsyncGenerator[bytes, None]:
        return self._kube.watch(
            self._resource,
            namespace=self._namespace,
            label_selector=self._label_selector,
            field_selector=self._field_selector,
            resource_version=None if send_initial_events else self.resource_version,
            send_initial_events=send_initial_events,
            timeout_seconds=self._stream_seconds,
        )

    def _event(self, line: bytes) -> Event:
        """Read a line; everything but a good event raises."""
        try:
            event = decode_event(line)
        except (msgspec.MsgspecError, ValueError) as err:
            self._note_bad_event()
            raise Unavailable(self._call().cannot(f"a line that is no event: {err}")) from err
        if event.type != "ERROR":
            return event
        status = decode_status(event.raw)
        told = failure(self._call(), status.code, event.raw)
        if isinstance(told, Gone):
            raise told
        self._note_bad_event()
        raise Unavailable(str(told))

    def _note_bad_event(self) -> None:
        self._bad_events += 1
        if self._bad_events >= BAD_EVENTS:
            self._must_sync, self._bad_events = True, 0

    def _take(self, event: Event) -> None:
        """Hand one event to the sink."""
        self._require_not_before(event.resource_version)
        if event.type == "BOOKMARK":
            self._sink.bookmark(event.resource_version)
        else:
            item = self._read(event.raw)
            if item is not None and event.type == "DELETED":
                self._sink.remove(item, event.resource_version)
            elif item is not None:
                self._sink.upsert(item, event.resource_version)
            elif event.type == "DELETED":  # it may be in the sink from a time when it was readable
                raise Gone(self._call().cannot("a deleted object is not readable"))
        self.resource_version = event.resource_version
        self.last_heard_at = self._clock.boottime()
        self._took_any, self._bad_events = True, 0
        self._backoff.reset()

    def _read(self, raw: msgspec.Raw) -> T | None:
        try:
            return self._decode(bytes(raw))
        except (msgspec.MsgspecError, ValueError, RecursionError) as err:
            self.unreadable += 1
            log.warning("object_unreadable", resource=self._resource.plural, cause=str(err))
            return None

    def _call(self) -> Call:
        return Call("watch", self._resource, self._namespace)
