"""The HTTP client of the API server: every call once, with a time limit, and errors of ours alone.

It is `api.Kube`: calls over `keepalive`, watches over an aiohttp session. It retries nothing: whether another try is
safe is the caller's knowledge.
The guard is asked right before each write leaves, after any wait for a free connection.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Final, Self
from urllib.parse import urlencode

import aiohttp
import msgspec
from yarl import URL

from pinfleet_operator.api.keys import FIELD_MANAGER
from pinfleet_operator.api.nesting import decode
from pinfleet_operator.clock import Clock
from pinfleet_operator.errors import Unavailable
from pinfleet_operator.kube.answers import Call, failure
from pinfleet_operator.kube.api import Match, Propagation
from pinfleet_operator.kube.credentials import Endpoint
from pinfleet_operator.kube.deadlines import Deadlines
from pinfleet_operator.kube.http1 import Answer
from pinfleet_operator.kube.keepalive import Keepalive, Origin
from pinfleet_operator.kube.lines import split_lines
from pinfleet_operator.kube.patience import Patience
from pinfleet_operator.kube.resources import Resource
from pinfleet_operator.kube.server_clock import ServerClock
from pinfleet_operator.kube.session import BROKEN, open_session, words

WRITES_AT_ONCE: Final = 32  # facts: past 16 connections the API server only queues
READS_AT_ONCE: Final = 16
WATCHES_AT_ONCE: Final = 16

CALL_SECONDS: Final = 10.0
LIST_SECONDS: Final = 60.0
CONNECT_SECONDS: Final = 5.0
SILENCE_SECONDS: Final = 75.0  # the server sends a bookmark every minute

MERGE_PATCH: Final = {"Content-Type": "application/merge-patch+json"}
JSON_PATCH: Final = {"Content-Type": "application/json-patch+json"}
JSON: Final = {"Content-Type": "application/json"}

Params = Mapping[str, str | int | None]
Guard = Callable[[], None]


class KubeClient:
    """`api.Kube` over HTTP; use it as an async context manager, or `close` it."""

    def __init__(
        self,
        endpoint: Endpoint,
        clock: Clock,
        *,
        guard: Guard | None = None,
        call_seconds: float = CALL_SECONDS,
        list_seconds: float = LIST_SECONDS,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self.writes: Counter[tuple[str, str]] = Counter()  # (plural, or plural/subresource; verb) -> writes sent
        self.server_clock = ServerClock(clock.now(), clock.boottime())
        self._endpoint, self._clock, self._guard = endpoint, clock, guard
        self._call_seconds, self._list_seconds, self._silence_seconds = call_seconds, list_seconds, silence_seconds
        origin, deadlines = Origin.of(endpoint.server, endpoint.ssl_context, endpoint.server_name), Deadlines()
        self._writes = Keepalive(origin, deadlines, connections=WRITES_AT_ONCE)
        self._reads = Keepalive(origin, deadlines, connections=READS_AT_ONCE)
        self._patience = Patience(clock)
        self._session = open_session(WATCHES_AT_ONCE, ssl_context=endpoint.ssl_context)

    def guarded(self, guard: Guard) -> "KubeClient":
        """The same client, session and counts, whose writes ask `guard` first; only the original closes them."""
        twin = object.__new__(KubeClient)
        twin.__dict__.update(self.__dict__, _guard=guard)
        return twin

    async def close(self) -> None:
        """Close every connection."""
        self._writes.close()
        self._reads.close()
        await self._session.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def server_now(self) -> datetime:
        """The API server's wall clock."""
        return self.server_clock.at(self._clock.boottime())

    async def get(self, resource: Resource, namespace: str | None, name: str) -> bytes:
        """One object, read consistently."""
        return await self._ask("GET", Call("get", resource, namespace, name))

    async def list_page(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        resource_version: str | None = None,
        resource_version_match: Match | None = None,
        limit: int | None = None,
        continue_token: str | None = None,
    ) -> bytes:
        """One page of a collection."""
        params: Params = {
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "resourceVersion": resource_version,
            "resourceVersionMatch": resource_version_match,
            "limit": limit,
            "continue": continue_token,
        }
        return await self._ask("GET", Call("list", resource, namespace), params, seconds=self._list_seconds)

    async def create(self, resource: Resource, namespace: str | None, body: bytes, *, dry_run: bool = False) -> bytes:
        """Create an object."""
        call = Call("dry-run" if dry_run else "create", resource, namespace, _name_in(body))
        # Who asks whether an object is valid wants to hear of a misspelt field too; it would be dropped in silence.
        asked: Params = {"dryRun": "All", "fieldValidation": "Strict"} if dry_run else {}
        params: Params = {"fieldManager": FIELD_MANAGER, **asked}
        return await self._ask("POST", call, params, body=body, headers=JSON)

    async def merge_patch(
        self, resource: Resource, namespace: str | None, name: str, body: bytes, *, subresource: str | None = None
    ) -> bytes:
        """Merge JSON into an object."""
        call = Call("patch", resource, namespace, name, subresource)
        return await self._ask("PATCH", call, {"fieldManager": FIELD_MANAGER}, body=body, headers=MERGE_PATCH)

    async def json_patch(
        self, resource: Resource, namespace: str | None, name: str, body: bytes, *, subresource: str | None = None
    ) -> bytes:
        """Apply RFC 6902 operations."""
        call = Call("patch", resource, namespace, name, subresource)
        return await self._ask("PATCH", call, {"fieldManager": FIELD_MANAGER}, body=body, headers=JSON_PATCH)

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        grace_seconds: int | None = None,
        propagation: Propagation | None = None,
    ) -> None:
        """Delete an object if it still is the one that is meant."""
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        options = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": {key: value for key, value in preconditions.items() if value is not None} or None,
            "gracePeriodSeconds": grace_seconds,
            "propagationPolicy": propagation,
        }
        body = msgspec.json.encode({key: value for key, value in options.items() if value is not None})
        await self._ask("DELETE", Call("delete", resource, namespace, name), body=body, headers=JSON)

    async def watch(
        self,
        resource: Resource,
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        resource_version: str | None = None,
        send_initial_events: bool = False,
        timeout_seconds: int | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """The events after `resource_version`, one line each."""
        call = Call("watch", resource, namespace)
        params: Params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "resourceVersion": resource_version,
            "sendInitialEvents": "true" if send_initial_events else None,
            "resourceVersionMatch": "NotOlderThan" if send_initial_events else None,
            "timeoutSeconds": timeout_seconds,
        }
        limit = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=self._silence_seconds)
        url = URL(self._endpoint.server + _path("GET", call, params), encoded=True)
        headers = await self._headers({})
        began = self._clock.boottime()
        try:
            async with self._session.get(
                url, headers=headers, timeout=limit, allow_redirects=False, server_hostname=self._endpoint.server_name
            ) as response:
                self._hear(response.headers.get("Date"), began)
                if response.status != 200:  # noqa: PLR2004 - OK
                    raise await self._failure(call, response.status, await response.read(), response.headers)
                try:
                    async for line in split_lines(response.content.iter_any()):
                        yield line
                finally:
                    _abandon(response)
        except aiohttp.SocketTimeoutError as err:
            raise Unavailable(call.cannot(f"neither event nor bookmark in {self._silence_seconds:g} s")) from err
        except BROKEN as err:
            raise Unavailable(call.cannot(words(err))) from err

    async def _ask(
        self,
        method: str,
        call: Call,
        params: Params | None = None,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> bytes:
        """One request and its whole answer, within the time limit, waiting for a free connection included."""
        limit = seconds or self._call_seconds
        await self._patience.wait(call.resource)
        try:
            answer = await self._send(method, call, params or {}, body, headers or {}, limit)
        except TimeoutError as err:
            raise Unavailable(call.cannot(f"no answer in {limit:g} s")) from err
        except BROKEN as err:
            raise Unavailable(call.cannot(words(err))) from err
        if answer.status >= 300 or answer.body is None:  # noqa: PLR2004 - neither OK nor Created
            retry_after = {"Retry-After": answer.headers.get("retry-after", "")}
            raise await self._failure(call, answer.status, answer.body or b"", retry_after)
        return answer.body

    async def _send(
        self, method: str, call: Call, params: Params, body: bytes | None, headers: Mapping[str, str], seconds: float
    ) -> Answer:
        path, all_headers = _path(method, call, params), await self._headers(headers)
        before = None if method == "GET" else partial(self._before_write, call)
        connections, began = self._reads if method == "GET" else self._writes, self._clock.boottime()
        answer = await connections.ask(method, path, all_headers, body, seconds=seconds, before=before)
        self._hear(answer.headers.get("date"), began)
        return answer

    def _before_write(self, call: Call) -> None:
        """Right before a write leaves: it may be ours no more, and it counts."""
        if self._guard is not None:
            self._guard()
        where = call.resource.plural + (f"/{call.subresource}" if call.subresource else "")
        self.writes[where, call.verb] += 1

    async def _headers(self, given: Mapping[str, str]) -> dict[str, str]:
        token = await self._endpoint.tokens.authorization()
        return {**given, "Authorization": token} if token else {**given}

    def _hear(self, date: str | None, began: float) -> None:
        self.server_clock.hear(date or "", began=began, ended=self._clock.boottime())

    async def _failure(self, call: Call, status: int, body: bytes, headers: Mapping[str, str]) -> Exception:
        if status == 401:  # noqa: PLR2004 - Unauthorized
            await self._endpoint.tokens.reload()
        found = failure(call, status, body, headers.get("Retry-After"))
        if status == 429 and isinstance(found, Unavailable):  # noqa: PLR2004 - Too Many Requests
            self._patience.hear(found.retry_after_seconds)
        return found


def _path(method: str, call: Call, params: Params) -> str:
    """Path and query of a call; a creation's name is in its body."""
    given = {key: value for key, value in params.items() if value is not None}
    path = call.resource.path(call.namespace, call.name if method != "POST" else None, call.subresource)
    return f"{path}?{urlencode(given)}" if given else path


def _abandon(response: aiohttp.ClientResponse) -> None:
    """Drop a stream that was left early: a farewell by TLS would outlive the session's own closing."""
    connection = response.connection
    if connection is not None and connection.transport is not None:
        connection.transport.abort()


class _Named(msgspec.Struct):
    name: str | None = None


class _Body(msgspec.Struct):
    metadata: _Named


_BODY: Final = msgspec.json.Decoder(_Body)


def _name_in(body: bytes) -> str | None:
    try:
        return decode(_BODY, body).metadata.name
    except msgspec.MsgspecError:
        return None
