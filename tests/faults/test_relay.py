"""The relay does to a request what its plan says, and nothing to any other: on an upstream that counts."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web

from tests.faults import calls, harm
from tests.faults.calls import Call
from tests.faults.harm import HARM
from tests.faults.plans import Plan
from tests.faults.play import Pods
from tests.faults.relay import Relay
from tests.faults.script import Script

PATH = "/apis/pinfleet.dev/v1alpha1/namespaces/ns/agentruns/run/status"
WATCH = "/apis/pinfleet.dev/v1alpha1/namespaces/ns/agentruns?watch=1"
ENDED = Call("patch", "agentruns/status", "run", "Succeeded")
BODY = json.dumps({"status": {"phase": "Succeeded"}})
RESET = 0  # in place of a status: the connection was reset, or nothing came


@dataclass
class Upstream:
    """Counts what is carried out, and shows each on a watch."""

    done: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """A write, or the watch."""
        if "watch" not in request.query:
            async with self.changed:
                self.done += 1
                self.changed.notify_all()
            return web.json_response({"done": self.done})
        response = web.StreamResponse()
        await response.prepare(request)
        seen = 0
        while True:
            async with self.changed:
                while self.done <= seen:
                    await self.changed.wait()
            seen = self.done
            await response.write(b'{"type":"MODIFIED","object":{"done":%d}}\n' % seen)


@dataclass
class Stand:
    """A client in front of a relay in front of an upstream."""

    upstream: Upstream
    script: Script
    session: aiohttp.ClientSession
    deaths: list[float] = field(default_factory=list)

    async def write(self, seconds: float = 60.0) -> int:
        """Send the write that plans are for; its status, or `RESET`."""
        try:
            async with asyncio.timeout(seconds), self.session.patch(PATH, data=BODY) as response:
                await response.read()
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return RESET

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Until something holds."""
        async with asyncio.timeout(60):
            while not is_so():  # noqa: ASYNC110 - of three parties, none tells the others
                await asyncio.sleep(0.01)


@asynccontextmanager
async def stand(fault: str | None, call: Call = ENDED) -> AsyncIterator[Stand]:
    """One of each, for a plan at the first such call."""
    upstream, deaths = Upstream(), list[float]()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", upstream.serve)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    script = Script(Plan(fault, call, 1) if fault else None, kill=lambda: deaths.append(0.0))
    relay = Relay(
        name=lambda request, body: calls.of_api(request.method, request.path, request.query, body),
        target=lambda _: f"http://127.0.0.1:{runner.addresses[0][1]}",
        serve=script.serve,
        stream=script.stream,
    )
    port = await relay.start("127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            yield Stand(upstream, script, session, deaths)
    finally:
        await relay.stop()
        await runner.cleanup()


@pytest.mark.parametrize(
    ("fault", "status", "done", "deaths"),
    [
        (None, 200, 1, 0),
        ("kill-before", RESET, 0, 1),
        ("kill-during", RESET, 1, 1),
        ("kill-after", 200, 1, 1),
        ("cut-answer", RESET, 1, 0),
        ("lost-answer", RESET, 1, 0),
        ("delay", 200, 1, 0),
        ("duplicate", 200, 2, 0),
        ("overtaken", 200, 1, 0),
        ("conflict", 409, 0, 0),
        ("invalid", 422, 0, 0),
        ("throttled", 429, 0, 0),
        ("failed", 500, 1, 0),
        ("reset", RESET, 0, 0),
        ("unavailable", 503, 0, 0),
        ("token-expired", 401, 0, 0),
        ("outage", RESET, 1, 0),
    ],
)
async def test_a_fault_is_what_it_is_called(
    monkeypatch: pytest.MonkeyPatch, fault: str | None, status: int, done: int, deaths: int
) -> None:
    """What the client hears, how often it was carried out, and whether the operator died; the next one passes."""
    monkeypatch.setattr(harm, "DELAY_SECONDS", 0.1)
    monkeypatch.setattr(harm, "DUPLICATE_SECONDS", 0.0)
    monkeypatch.setattr(harm, "OVERTAKEN_SECONDS", 0.1)
    async with stand(fault) as on:
        assert await on.write(1.0 if fault == "lost-answer" else 60.0) == status
        await on.until(lambda: on.upstream.done >= done and len(on.deaths) >= deaths)
        assert (on.upstream.done, len(on.deaths)) == (done, deaths)
        assert await on.write() == 200
        assert on.script.seen[0].call == ENDED


async def test_a_request_of_a_dead_operator_is_not_carried_out() -> None:
    """What it sent while its last answer was read goes nowhere; what its successor sends does."""
    async with stand(None) as on:
        on.script.hold()
        last = asyncio.ensure_future(on.write())
        await on.until(lambda: bool(on.script._open._waiters))
        on.script.die()
        on.script.let_go()
        assert (await last, on.upstream.done) == (RESET, 0)
        assert (await on.write(), on.upstream.done) == (200, 1)


@pytest.mark.parametrize("fault", ["gone", "frozen", "hung"])
async def test_a_watch_hides_what_the_plan_says(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """The write's own event: 410 comes in its place, or it comes late, or never; another watch shows it."""
    monkeypatch.setattr(harm, "FREEZE_SECONDS", 0.5)
    async with stand(fault) as on, on.session.get(WATCH) as watch:
        assert await on.write() == 200
        line = asyncio.ensure_future(watch.content.readline())
        if fault == "gone":
            assert json.loads(await line)["object"]["code"] == 410
        else:
            done, _ = await asyncio.wait({line}, timeout=0.3)
            assert not done
            done, _ = await asyncio.wait({line}, timeout=1.0)
            assert bool(done) == (fault == "frozen")
        async with on.session.get(WATCH) as other:
            assert json.loads(await other.content.readline())["object"]["done"] == 1
        line.cancel()


async def test_an_expired_token_is_refused_until_another_comes() -> None:
    """Every request with it, not only the plan's."""
    async with stand("token-expired") as on:
        on.session.headers["Authorization"] = "Bearer old"
        assert [await on.write(), await on.write()] == [401, 401]
        on.session.headers["Authorization"] = "Bearer new"
        assert await on.write() == 200


def test_every_fault_is_tried_here() -> None:
    """A fault that no test here names is one that nobody knows the meaning of."""
    rows = test_a_fault_is_what_it_is_called.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {row[0] for row in rows} | {"gone", "frozen", "hung"} == HARM.keys() | {None}


def test_pods_are_said_to_live_at_the_relay() -> None:
    """In objects, lists and events; everything else of them stays."""
    pods, pod = Pods(), {"metadata": {"uid": "u"}, "status": {"podIP": "127.9.0.1", "podIPs": [{"ip": "127.9.0.1"}]}}
    moved = pod | {"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}}
    for whole, expected in (
        (pod, moved),
        ({"items": [pod, {"metadata": {"uid": "v"}}]}, {"items": [moved, {"metadata": {"uid": "v"}}]}),
        ({"type": "ADDED", "object": pod}, {"type": "ADDED", "object": moved}),
    ):
        assert json.loads(pods.rewrite(Call("get", "pods"), json.dumps(whole).encode())) == expected
    assert pods._addresses == {"u": "127.9.0.1"}
