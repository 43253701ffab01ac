"""The faults: what may happen to one request. Each is a function of the plan's script and the request."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from tests.faults.relay import Answer, Cut, Exchange

if TYPE_CHECKING:
    from tests.faults.script import Script

DELAY_SECONDS: Final = 3.0
FREEZE_SECONDS: Final = 6.0
DUPLICATE_SECONDS: Final = 1.0
OVERTAKEN_SECONDS: Final = 2.0  # at most; there may be no other request
RETRY_AFTER_SECONDS: Final = 2
READ_SECONDS: Final = 0.05  # for the operator to read an answer and think
FOREVER: Final = 3600.0

Harm = Callable[["Script", Exchange], Awaitable[Answer | None]]


async def kill_before(script: "Script", _exchange: Exchange) -> Answer | None:
    """The operator dies with its request under way, which never arrives."""
    script.die()
    raise Cut


async def kill_during(script: "Script", exchange: Exchange) -> Answer | None:
    """The request is carried out, the operator dies before it hears of it."""
    await script.forward(exchange)
    script.die()
    raise Cut


async def kill_after(script: "Script", exchange: Exchange) -> Answer | None:
    """The operator hears the answer, and dies before its next request leaves."""
    answer = await script.forward(exchange)
    script.hold()
    try:
        await exchange.deliver(answer)
        await asyncio.sleep(READ_SECONDS)
        script.die()
    finally:
        script.let_go()
    return None


async def lost_answer(script: "Script", exchange: Exchange) -> Answer | None:
    """The request is carried out, its answer never comes, and the connection stays open."""
    await script.forward(exchange)
    await asyncio.sleep(FOREVER)
    return None


async def cut_answer(script: "Script", exchange: Exchange) -> Answer | None:
    """The request is carried out, the connection is reset before the answer."""
    await script.forward(exchange)
    raise Cut


async def delay(script: "Script", exchange: Exchange) -> Answer | None:
    """The request takes its time; everything else goes on."""
    await asyncio.sleep(DELAY_SECONDS)
    return await script.forward(exchange)


async def duplicate(script: "Script", exchange: Exchange) -> Answer | None:
    """The request is carried out again a second later."""
    answer = await script.forward(exchange)
    await exchange.deliver(answer)
    await asyncio.sleep(DUPLICATE_SECONDS)
    await script.forward(exchange)
    return None


async def overtaken(script: "Script", exchange: Exchange) -> Answer | None:
    """Another request is carried out first."""
    try:
        async with asyncio.timeout(OVERTAKEN_SECONDS):
            await script.another_answer()
    except TimeoutError:
        pass
    return await script.forward(exchange)


async def conflict(_script: "Script", _exchange: Exchange) -> Answer | None:
    """409, though nothing changed."""
    return _status(409, "Conflict", "the object has been modified; please apply your changes to the latest version")


async def invalid(_script: "Script", _exchange: Exchange) -> Answer | None:
    """422: an admission webhook has a bad moment."""
    return _status(422, "Invalid", "refused by the fault plan")


async def throttled(_script: "Script", _exchange: Exchange) -> Answer | None:
    """429 with Retry-After."""
    return _status(429, "TooManyRequests", "too many requests", {"Retry-After": str(RETRY_AFTER_SECONDS)})


async def failed(script: "Script", exchange: Exchange) -> Answer | None:
    """500 after the request was carried out."""
    await script.forward(exchange)
    return _status(500, "InternalError", "etcdserver: request timed out")


async def reset(_script: "Script", _exchange: Exchange) -> Answer | None:
    """The connection is reset, the request never arrives."""
    raise Cut


async def gone(script: "Script", exchange: Exchange) -> Answer | None:
    """The watch that would show the write ends with 410 instead."""
    script.expire_watch(_watched(exchange))
    return await script.forward(exchange)


async def frozen(script: "Script", exchange: Exchange) -> Answer | None:
    """The watch that would show the write says nothing for a while, then everything."""
    flows = script.freeze(_watched(exchange))
    asyncio.get_running_loop().call_later(FREEZE_SECONDS, flows.set)
    return await script.forward(exchange)


async def hung(script: "Script", exchange: Exchange) -> Answer | None:
    """The watch that would show the write says nothing any more."""
    script.hang(_watched(exchange))
    return await script.forward(exchange)


async def token_expired(script: "Script", exchange: Exchange) -> Answer | None:
    """The token is refused from here on; another one lies where it came from."""
    script.expire_token()
    script.stale_token = exchange.token
    return _status(401, "Unauthorized", "the token has expired")


async def outage(script: "Script", exchange: Exchange) -> Answer | None:
    """The request is carried out, and the API server and etcd are killed before the answer; they come back later."""
    await script.forward(exchange)
    await script.end_server()
    raise Cut


async def unavailable(_script: "Script", _exchange: Exchange) -> Answer | None:
    """A pod answers 503, not by the run protocol."""
    return Answer(503, {"Content-Type": "text/plain"}, b"no healthy upstream")


HARM: Final[dict[str, Harm]] = {
    "kill-before": kill_before,
    "kill-during": kill_during,
    "kill-after": kill_after,
    "lost-answer": lost_answer,
    "cut-answer": cut_answer,
    "delay": delay,
    "duplicate": duplicate,
    "overtaken": overtaken,
    "conflict": conflict,
    "invalid": invalid,
    "throttled": throttled,
    "failed": failed,
    "reset": reset,
    "gone": gone,
    "frozen": frozen,
    "hung": hung,
    "token-expired": token_expired,
    "unavailable": unavailable,
    "outage": outage,
}
"""By name, as plans call them."""


def _watched(exchange: Exchange) -> str:
    return exchange.call.resource.partition("/")[0]


def _status(code: int, reason: str, message: str, headers: dict[str, str] | None = None) -> Answer:
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": message,
        "code": code,
    }
    return Answer(code, {"Content-Type": "application/json"} | (headers or {}), json.dumps(body).encode())
