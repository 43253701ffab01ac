"""Calls agent pods by the run protocol: state, offer, ack, end.

The operator's end of ``docs/reference/run-contract.md``; shapes come from `pinfleet.wire`. It decides nothing, retries
nothing, and believes an answer only from the pod that was meant.

Connections are pooled by pod uid, never by address: an address is given to another pod minutes after its owner is gone,
and a connection that was kept open, by us or by a proxy or a conntrack entry between, may still end at the former
owner. So each pod has connections of its own, closed once it has not been called for a while.
"""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import Final, Protocol, Self, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from pinfleet.wire import (
    LEADER_HEADER,
    POD_HEADER,
    PROTOCOL,
    Accepted,
    EndReason,
    Identity,
    Offer,
    Refusal,
    StateAnswer,
)
from pinfleet_operator.api.nesting import decode
from pinfleet_operator.clock import Clock
from pinfleet_operator.errors import PodRefused, PodUnreachable
from pinfleet_operator.kube.deadlines import Deadlines
from pinfleet_operator.kube.keepalive import Keepalive, Origin
from pinfleet_operator.kube.session import BROKEN, words

CALL_SECONDS: Final = 5.0
CONNECTIONS_PER_POD: Final = 4  # one long poll, and calls beside it
IDLE_SECONDS: Final = 120.0  # well over a long poll; a pod that is still there is called more often
ANSWER_LIMIT_BYTES: Final = 8 * 1024 * 1024  # 500 ended runs with results of 16 KiB; a pod may be hostile
MENDED_LIMIT_BYTES: Final = 1024 * 1024  # of an answer that nests too deep and is read all the same; takes 0.2 s
UNKNOWN: Final = "unknown"  # code of a refusal that is not of the run protocol

A = TypeVar("A", bound=Identity)


@dataclass(frozen=True)
class PodTarget:
    """Where a pod listens, and as whom it must answer."""

    pod_uid: str
    ip: str  # IPv4 or IPv6
    port: int
    version_uid: str  # of the AgentVersion; its token opens the pod


class Pods(Protocol):
    """Calls to agent pods; each raises a `PodError` and nothing else. The simulator has one of its own."""

    async def state(self, target: PodTarget, *, after: int, boot: str, wait_seconds: int) -> StateAnswer:
        """The runs changed after `after` in process `boot`, or all of them; waits so long for a change."""

    async def offer(self, target: PodTarget, uid: str, offer: Offer) -> Accepted:
        """Offer a run."""

    async def ack(self, target: PodTarget, uid: str, epoch: int) -> Accepted:
        """Let the pod forget a run whose end or park is stored; refused as ``unknown_run`` where it has already."""

    async def end(self, target: PodTarget, uid: str, epoch: int, reason: EndReason) -> Accepted:
        """Tell the pod to end a run."""


@lru_cache(maxsize=4096)
def token_for(key: bytes, version_uid: str) -> str:
    """The bearer token of a version's pods: worth nothing with any other version's, and not stored by the operator."""
    return hmac.new(key, version_uid.encode(), "sha256").hexdigest()


@dataclass
class _Pool:
    """A pod's own connections."""

    origin: Origin
    connections: Keepalive
    used_at: float  # CLOCK_BOOTTIME of the last call's begin or end
    calls: int = field(default=0)  # in flight


class PodClient:
    """`Pods` over HTTP."""

    def __init__(
        self,
        key: bytes,
        *,
        leader_number: Callable[[], int | None],
        guard: Callable[[], None],
        clock: Clock,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        """Make a client without connections.

        Args:
            key: the operator's key, from which tokens are derived.
            leader_number: leaseTransitions of this leader; None: a standby, which may only read states.
            guard: asked right before each call that is more than reading; raises if this is not the leader.
            clock: for the age of idle connections.
            call_seconds: time limit of a call, without what it is asked to wait.
        """
        self._key, self._leader_number, self._guard = key, leader_number, guard
        self._call_seconds, self._clock = call_seconds, clock
        self._pools: dict[str, _Pool] = {}
        self._deadlines = Deadlines()
        self._swept_at = clock.boottime()

    async def close(self) -> None:
        """Close every connection."""
        pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.connections.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def state(self, target: PodTarget, *, after: int, boot: str, wait_seconds: int) -> StateAnswer:
        """The pod's runs; the one call that a standby may make too."""
        query = urlencode({"after": after, "boot": boot, "wait": wait_seconds})
        seconds = wait_seconds + self._call_seconds
        return await self._call("GET", target, f"/state?{query}", StateAnswer, seconds=seconds)

    async def offer(self, target: PodTarget, uid: str, offer: Offer) -> Accepted:
        """Offer a run."""
        body = msgspec.json.encode(offer)
        return await self._call("PUT", target, _run_path(uid), Accepted, body=body, before=self._guard)

    async def ack(self, target: PodTarget, uid: str, epoch: int) -> Accepted:
        """Let the pod forget a run."""
        path = f"{_run_path(uid)}/ack?epoch={epoch}"
        return await self._call("POST", target, path, Accepted, before=self._guard)

    async def end(self, target: PodTarget, uid: str, epoch: int, reason: EndReason) -> Accepted:
        """Tell the pod to end a run."""
        path = f"{_run_path(uid)}?epoch={epoch}&reason={reason}"
        return await self._call("DELETE", target, path, Accepted, before=self._guard)

    async def _call(
        self,
        method: str,
        target: PodTarget,
        path: str,
        answer_type: type[A],
        *,
        body: bytes | None = None,
        seconds: float | None = None,
        before: Callable[[], None] | None = None,
    ) -> A:
        pool = self._pool(target)
        pool.calls += 1
        try:
            limit = seconds or self._call_seconds
            answer = await pool.connections.ask(method, path, self._headers(target), body, seconds=limit, before=before)
        except BROKEN as err:
            where = pool.origin.authority
            raise PodUnreachable(f"cannot call pod {target.pod_uid} at {where}: {words(err)}") from err
        finally:
            pool.calls -= 1
            pool.used_at = self._clock.boottime()
        return _decode(target, answer.status, answer.body, answer_type)

    def _headers(self, target: PodTarget) -> Mapping[str, str]:
        number = self._leader_number()
        return {
            "Authorization": f"Bearer {token_for(self._key, target.version_uid)}",
            "Content-Type": "application/json",
            POD_HEADER: target.pod_uid,
            **({LEADER_HEADER: str(number)} if number is not None else {}),
        }

    def _pool(self, target: PodTarget) -> _Pool:
        now = self._clock.boottime()
        if now - self._swept_at > IDLE_SECONDS:
            self._sweep(now)
        pool, origin = self._pools.get(target.pod_uid), Origin(target.ip, target.port)
        if pool is not None and pool.origin != origin:
            pool.connections.close()
            pool = None
        if pool is None:
            connections = Keepalive(
                origin, self._deadlines, connections=CONNECTIONS_PER_POD, body_limit_bytes=ANSWER_LIMIT_BYTES
            )
            pool = self._pools[target.pod_uid] = _Pool(origin, connections, now)
        return pool

    def _sweep(self, now: float) -> None:
        self._swept_at = now
        for uid, pool in list(self._pools.items()):
            if not pool.calls and now - pool.used_at > IDLE_SECONDS:
                self._pools.pop(uid).connections.close()


def _run_path(uid: str) -> str:
    return f"/runs/{quote(uid, safe='')}"  # a uid may come from a pod's listing: it stays one segment


def _decode(target: PodTarget, status: int, content: bytes | None, answer_type: type[A]) -> A:
    where = f"pod {target.pod_uid} answered {status}"
    if content is None:
        raise PodRefused(f"{where} with more than {ANSWER_LIMIT_BYTES} bytes", status=status, code=UNKNOWN)
    if status == HTTPStatus.NO_CONTENT:  # the answer to an ack whose run is forgotten already: it has no body, no `n`
        raise PodRefused(f"{where}: it does not hold the run", status=status, code="unknown_run")
    if status >= 300:  # noqa: PLR2004 - neither OK nor Accepted
        raise _refusal(target, where, status, content)
    try:
        answer = _read_json(content, answer_type)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as err:
        raise PodRefused(f"{where}, but not by the run protocol: {err}", status=status, code=UNKNOWN) from err
    if answer.pod_uid != target.pod_uid:
        raise _wrong_pod(where, status, answer.pod_uid)
    if answer.protocol != PROTOCOL:
        cause = f"{where} by protocol {answer.protocol}; this operator speaks {PROTOCOL}"
        raise PodRefused(cause, status=status, code=UNKNOWN)
    return answer


def _read_json(content: bytes, answer_type: type[A]) -> A:
    """Read an answer; a result that nests too deep costs its run that result, not the pod its voice."""
    decoder = msgspec.json.Decoder(answer_type)
    return decode(decoder, content) if len(content) <= MENDED_LIMIT_BYTES else decoder.decode(content)


def _refusal(target: PodTarget, where: str, status: int, content: bytes) -> PodRefused:
    try:
        refusal = _read_json(content, Refusal)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return PodRefused(f"{where}, not by the run protocol", status=status, code=UNKNOWN)
    if refusal.pod_uid != target.pod_uid:
        return _wrong_pod(where, status, refusal.pod_uid)
    return PodRefused(f"{where}: {refusal.message}", status=status, code=refusal.code, value=refusal.value)


def _wrong_pod(where: str, status: int, pod_uid: str) -> PodRefused:
    return PodRefused(f"{where} as pod {pod_uid}", status=status, code="wrong_pod", value=pod_uid)
