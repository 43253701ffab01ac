"""The pod's HTTP server: the run protocol's calls, handed to the machine.

It runs on a loop and in a thread of its own, so author code that blocks its loop does not hide the pod. It decides
nothing but who may call; inputs are never logged.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, get_args

import msgspec
from aiohttp import web

from pinfleet import clock
from pinfleet.errors import JournalError
from pinfleet.journal.worker import JournalWorker
from pinfleet.pod.actions import Reply
from pinfleet.pod.driver import PodDriver
from pinfleet.pod.token import Tokens
from pinfleet.rules import Rules
from pinfleet.wire import LEADER_HEADER, POD_HEADER, EndReason, ErrorCode, Message, Offer

BODY_LIMIT: Final = 1024 * 1024
LONGEST_WAIT_SECONDS: Final = 60.0
_CHECK_SECONDS: Final = 2.0
_DIGITS: Final = 16  # of the largest number that JSON readers hold exactly
_LOG: Final = logging.getLogger("pinfleet.pod")
_PROBES: Final = frozenset({"/ping", "/ready"})
_DELETE_REASONS: Final = frozenset(get_args(EndReason)) - {"attempts"}
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PodServer:
    """Serves the protocol.

    Args:
        driver: Holds the machine.
        tokens: Who may call.
        worker: Asked whether the journal answers, for ``/ready``.
        rules: All of them, but in a negative control.
    """

    def __init__(self, driver: PodDriver, tokens: Tokens, worker: JournalWorker, rules: Rules) -> None:
        self._driver = driver
        self._machine = driver.machine
        self._tokens = tokens
        self._worker = worker
        self._rules = rules
        self._checked_at = float("-inf")
        self._is_journal_up = False
        self._journal_said = "the database was not asked yet"

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application(middlewares=[self._guard], client_max_size=BODY_LIMIT)
        app.add_routes(
            [
                web.get("/ping", self._ping),
                web.get("/ready", self._ready),
                web.get("/state", self._state),
                web.put("/runs/{uid}", self._offer),
                web.post("/runs/{uid}/ack", self._ack),
                web.delete("/runs/{uid}", self._delete),
                web.post("/drain", self._drain),
            ]
        )
        return app

    # -- who may call --------------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            if request.path not in _PROBES:
                refused = self._refused(request)
                if refused is not None:
                    return refused
            return await handler(request)
        except _BadRequest as err:
            return self._refuse(HTTPStatus.BAD_REQUEST, "bad_request", str(err))
        except web.HTTPException as err:
            if err.status < HTTPStatus.BAD_REQUEST:
                raise
            return self._refuse(HTTPStatus(err.status), "bad_request", err.reason)

    def _refused(self, request: web.Request) -> web.Response | None:
        """Check token, pod and leader, in this order: a stranger learns nothing."""
        if not self._tokens.allows(request.headers.get("Authorization", "")):
            return self._refuse(HTTPStatus.UNAUTHORIZED, "unauthorized", "no valid bearer token")
        meant = request.headers.get(POD_HEADER)
        if meant is None:
            raise _BadRequest(f"{POD_HEADER}: missing")
        if meant != self._machine.pod_uid and self._rules.pod_uid:
            said = "this address belongs to another pod"
            return self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "wrong_pod", said, self._machine.pod_uid)
        number = request.headers.get(LEADER_HEADER)
        if number is None:
            if request.path == "/state":
                return None
            raise _BadRequest(f"{LEADER_HEADER}: missing")
        stale = self._machine.check_leader(_number(LEADER_HEADER, number))
        return None if stale is None else _response(HTTPStatus.CONFLICT, stale)

    # -- calls ---------------------------------------------------------------------------------------------------

    async def _ping(self, _: web.Request) -> web.Response:
        return self._identity(HTTPStatus.OK)

    async def _ready(self, _: web.Request) -> web.Response:
        if self._machine.is_draining:
            return self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "draining", "this pod takes no new runs")
        if not await self._journal_answers():
            return self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "journal_unavailable", self._journal_said)
        return self._identity(HTTPStatus.OK)

    async def _state(self, request: web.Request) -> web.Response:
        after = _number("after", request.query.get("after", "0"))
        boot = request.query.get("boot", "")
        wait = _seconds("wait", request.query.get("wait", "0"))
        if after > 0 and boot == self._machine.boot:
            await self._driver.wait_for_change(after, min(wait, LONGEST_WAIT_SECONDS))
        return _response(HTTPStatus.OK, self._machine.state(after, boot))

    async def _offer(self, request: web.Request) -> web.Response:
        try:
            offer = msgspec.json.decode(await request.read(), type=Offer)
        except (msgspec.DecodeError, RecursionError, UnicodeError) as err:
            raise _BadRequest(f"offer: {err}") from err
        if offer.epoch < 1:
            raise _BadRequest("offer: epoch: must be 1 or more")
        if offer.deadline is not None and offer.deadline.tzinfo is None:
            raise _BadRequest("offer: deadline: has no time zone")
        uid = request.match_info["uid"]
        return _answer(await self._driver.call(lambda tag: self._machine.offer(tag, uid, offer, clock.now())))

    async def _ack(self, request: web.Request) -> web.Response:
        uid, epoch = request.match_info["uid"], _number("epoch", request.query.get("epoch"))
        return _answer(await self._driver.call(lambda tag: self._machine.ack(tag, uid, epoch)))

    async def _delete(self, request: web.Request) -> web.Response:
        uid, epoch = request.match_info["uid"], _number("epoch", request.query.get("epoch"))
        reason = request.query.get("reason", "")
        if reason not in _DELETE_REASONS:
            raise _BadRequest(f"reason: {reason!r} is none of {sorted(_DELETE_REASONS)}")
        known = msgspec.convert(reason, EndReason)
        return _answer(await self._driver.call(lambda tag: self._machine.delete(tag, uid, epoch, known, clock.now())))

    async def _drain(self, _: web.Request) -> web.Response:
        self._driver.apply(self._machine.drain())
        return _response(HTTPStatus.ACCEPTED, self._machine.accepted())

    # -- inside --------------------------------------------------------------------------------------------------

    async def _journal_answers(self) -> bool:
        now = clock.now().monotonic
        if now - self._checked_at >= _CHECK_SECONDS or not self._is_journal_up:
            self._checked_at = now
            work = asyncio.wrap_future(self._worker.submit(lambda journal: journal.check()))
            try:
                async with asyncio.timeout(_CHECK_SECONDS):
                    await work
                self._is_journal_up = True
            except (JournalError, TimeoutError) as err:
                self._is_journal_up = False
                self._journal_said = str(err) or "the database is slow"
                _LOG.warning("not ready", extra={"cause": self._journal_said})
        return self._is_journal_up

    def _identity(self, status: HTTPStatus) -> web.Response:
        return _response(status, self._machine.identity())

    def _refuse(
        self, status: HTTPStatus, code: ErrorCode, message: str, value: int | str | None = None
    ) -> web.Response:
        return _response(status, self._machine.refusal(code, message, value))


class _BadRequest(Exception):
    """The call does not fit; the message says which part."""


def _number(name: str, text: str | None) -> int:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        raise _BadRequest(f"{name}: must be a number of up to {_DIGITS} digits")
    return int(text)


def _seconds(name: str, text: str) -> float:
    try:
        return max(0.0, float(text))
    except ValueError:
        raise _BadRequest(f"{name}: must be seconds") from None


def _answer(reply: Reply) -> web.Response:
    if reply.status is HTTPStatus.NO_CONTENT:
        return web.Response(status=reply.status)
    return _response(reply.status, reply.body)


def _response(status: HTTPStatus, body: Message) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")
