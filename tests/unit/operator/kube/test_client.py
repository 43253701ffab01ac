"""The client makes every call once, within its time, and raises nothing but errors of ours."""

import asyncio
import json
from contextlib import aclosing
from datetime import datetime, timedelta

import pytest

from pinfleet_operator.clock import SystemClock
from pinfleet_operator.errors import (
    ClusterError,
    Conflict,
    Forbidden,
    Gone,
    PinfleetError,
    Rejected,
    Unavailable,
)
from pinfleet_operator.kube.client import READS_AT_ONCE, WRITES_AT_ONCE, KubeClient
from pinfleet_operator.kube.credentials import Endpoint, FixedToken
from pinfleet_operator.kube.resources import AGENT_RUNS, PODS, SECRETS
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.faults import Answer, Break, Cut, Fault, Silence, is_method, is_watch
from tests.fakes.reflection import run_body

RUN = json.dumps(run_body("run")).encode()


class SetClock(SystemClock):
    """The machine's clock, whose wall clock somebody set."""

    def __init__(self, ahead_seconds: float) -> None:
        self.ahead_seconds = ahead_seconds

    def now(self) -> datetime:
        """The wall clock."""
        return super().now() + timedelta(seconds=self.ahead_seconds)


class NotAllowed(PinfleetError):
    """What the guard of these tests raises."""


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (400, Rejected),
        (401, Forbidden),
        (403, Forbidden),
        (404, Unavailable),
        (409, Conflict),
        (410, Gone),
        (413, Rejected),
        (415, Rejected),
        (422, Rejected),
        (307, Unavailable),
        (408, Unavailable),
        (429, Unavailable),
        (500, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
    ],
)
async def test_every_status_is_an_error_of_ours(
    server: FakeApiServer, kube: KubeClient, code: int, expected: type[ClusterError]
) -> None:
    """The class says whether another try makes sense; the message says what could not be done, and why."""
    server.inject(Answer(code, "because"), lambda _: True)
    with pytest.raises(expected) as caught:
        await kube.get(PODS, "ns", "pod")
    assert type(caught.value) is expected
    assert str(caught.value) == f"cannot get Pod ns/pod: because ({code})"


@pytest.mark.parametrize(
    "fault", [Cut(), Cut(is_done=True), Silence(), Answer(200, body=b""), Answer(502, body=b"<html>")]
)
@pytest.mark.parametrize("verb", ["get", "list", "create", "patch", "delete"])
async def test_no_exception_of_the_library_leaks(server: FakeApiServer, fault: Fault, verb: str) -> None:
    """Whatever happens to a call, it returns, or raises a ClusterError, within its time, and is sent once."""
    server.memory.create("agentruns", "ns", run_body("run"))
    server.inject(fault, lambda _: True, times=9)
    async with KubeClient(server.endpoint, SystemClock(), call_seconds=1.0, list_seconds=1.0) as kube:
        try:
            async with asyncio.timeout(10):
                await _call(kube, verb)
        except ClusterError as err:
            assert isinstance(err, Unavailable)  # noqa: PT017 - a good answer is good too
    assert len(server.requests) == 1


async def _call(kube: KubeClient, verb: str) -> None:
    match verb:
        case "get":
            await kube.get(AGENT_RUNS, "ns", "run")
        case "list":
            await kube.list_page(AGENT_RUNS)
        case "create":
            await kube.create(AGENT_RUNS, "ns", json.dumps(run_body("new")).encode())
        case "patch":
            await kube.merge_patch(AGENT_RUNS, "ns", "run", b"{}")
        case "delete":
            await kube.delete(AGENT_RUNS, "ns", "run")


async def test_nobody_there_is_unavailable() -> None:
    """A refused connection is an outcome unknown, as any silence."""
    async with KubeClient(Endpoint("http://127.0.0.1:9", None, FixedToken()), SystemClock()) as kube:
        with pytest.raises(Unavailable, match="cannot get Pod ns/pod: "):
            await kube.get(PODS, "ns", "pod")


async def test_a_kept_connection_that_died_is_no_reason_to_send_twice(server: FakeApiServer, kube: KubeClient) -> None:
    """A DELETE on a connection that the server just closed is reported, not repeated."""
    server.memory.create("agentruns", "ns", run_body("run"))
    await kube.get(AGENT_RUNS, "ns", "run")
    server.inject(Cut(is_done=True), is_method("DELETE"))
    with pytest.raises(Unavailable):
        await kube.delete(AGENT_RUNS, "ns", "run")
    assert sum(request.startswith("DELETE") for request in server.requests) == 1


async def test_retry_after_is_handed_on(server: FakeApiServer, kube: KubeClient) -> None:
    """The server's wish for a pause comes with the error; a date in its place is no wish."""
    server.inject(Answer(503, retry_after="Wed, 21 Oct 2026 07:28:00 GMT"), lambda _: True)
    server.inject(Answer(429, retry_after="3"), lambda _: True)
    for expected in (None, 3.0):
        with pytest.raises(Unavailable) as caught:
            await kube.get(PODS, "ns", "pod")
        assert caught.value.retry_after_seconds == expected


async def test_the_refusal_of_a_secret_does_not_quote_it(server: FakeApiServer, kube: KubeClient) -> None:
    """The server's words on a Secret may hold the secret; its reason does not."""
    server.inject(Answer(422, "Invalid value: hunter2"), lambda _: True)
    with pytest.raises(Rejected) as caught:
        await kube.create(SECRETS, "ns", b'{"metadata":{"name":"key"}}')
    assert str(caught.value) == "cannot create Secret ns/key: Injected (422)"


async def test_the_guard_is_asked_before_each_write_and_no_read(server: FakeApiServer, kube: KubeClient) -> None:
    """Where the guard raises nothing is sent; reads do not ask it."""

    def refuse() -> None:
        raise NotAllowed

    guarded = kube.guarded(refuse)
    server.memory.create("agentruns", "ns", run_body("run"))
    await guarded.get(AGENT_RUNS, "ns", "run")
    await guarded.list_page(AGENT_RUNS)
    for verb in ("create", "patch", "delete"):
        with pytest.raises(NotAllowed):
            await _call(guarded, verb)
    assert [request.split()[0] for request in server.requests] == ["GET", "GET"]
    assert not kube.writes
    await _call(kube, "delete")


async def test_the_guard_is_asked_after_the_wait_for_a_free_connection(server: FakeApiServer, kube: KubeClient) -> None:
    """A write that waited while the lease was lost is not sent."""
    leads = True

    def guard() -> None:
        if not leads:
            raise NotAllowed

    guarded = kube.guarded(guard)
    server.inject(Silence(), is_method("PATCH"), times=WRITES_AT_ONCE)
    calls = [asyncio.create_task(guarded.merge_patch(AGENT_RUNS, "ns", "run", b"{}")) for _ in range(WRITES_AT_ONCE)]
    await server.asked(WRITES_AT_ONCE)
    waiting = asyncio.create_task(guarded.merge_patch(AGENT_RUNS, "ns", "run", b"{}"))
    await asyncio.sleep(0)
    leads = False
    for call in calls:
        call.cancel()
    with pytest.raises(NotAllowed):
        await waiting
    await asyncio.gather(*calls, return_exceptions=True)
    assert len(server.requests) == WRITES_AT_ONCE


async def test_reads_that_hang_do_not_hold_up_writes(server: FakeApiServer, kube: KubeClient) -> None:
    """Reads and writes have connections of their own."""
    server.inject(Silence(), is_method("GET"), times=READS_AT_ONCE)
    reads = [asyncio.create_task(kube.get(AGENT_RUNS, "ns", "run")) for _ in range(READS_AT_ONCE)]
    await kube.create(AGENT_RUNS, "ns", RUN)
    for read in reads:
        read.cancel()
    await asyncio.gather(*reads, return_exceptions=True)


async def test_a_dry_run_is_strict_and_a_creation_is_not(server: FakeApiServer, kube: KubeClient) -> None:
    """Who asks whether an object is valid hears of a misspelt field; what exists is made as it was accepted."""
    await kube.create(AGENT_RUNS, "ns", RUN, dry_run=True)
    await kube.create(AGENT_RUNS, "ns", RUN)
    assert ["fieldValidation=Strict" in each for each in server.requests] == [True, False]


async def test_writes_are_counted_by_resource_and_verb(kube: KubeClient) -> None:
    """A dry run is told apart, and so is a status."""
    await kube.create(AGENT_RUNS, "ns", RUN, dry_run=True)
    await kube.create(AGENT_RUNS, "ns", RUN)
    await kube.merge_patch(AGENT_RUNS, "ns", "run", b'{"status":{"phase":"Pending"}}', subresource="status")
    await kube.delete(AGENT_RUNS, "ns", "run")
    assert kube.writes == {
        ("agentruns", "dry-run"): 1,
        ("agentruns", "create"): 1,
        ("agentruns/status", "patch"): 1,
        ("agentruns", "delete"): 1,
    }


async def test_every_write_names_its_field_manager(server: FakeApiServer, kube: KubeClient) -> None:
    """The managedFields must say who wrote."""
    await kube.create(AGENT_RUNS, "ns", RUN)
    await kube.merge_patch(AGENT_RUNS, "ns", "run", b"{}")
    assert all("fieldManager=pinfleet-operator" in request for request in server.requests)


async def test_after_a_401_the_credentials_are_read_again(server: FakeApiServer) -> None:
    """The call that was refused is not repeated; the next one carries the new token."""

    class Rotated(FixedToken):
        async def reload(self) -> None:
            self._token = "new"  # noqa: S105 - of a fake

    server.accepted_token = "new"  # noqa: S105 - of a fake
    async with KubeClient(Endpoint(server.endpoint.server, None, Rotated("old")), SystemClock()) as kube:
        with pytest.raises(Forbidden):
            await kube.list_page(PODS)
        await kube.list_page(PODS)


async def test_the_servers_clock_is_learned_from_its_answers(server: FakeApiServer) -> None:
    """An own clock that is two minutes slow does not move what the server's time is taken for."""
    async with KubeClient(server.endpoint, SetClock(-120)) as kube:
        assert abs((kube.server_now() - SystemClock().now()).total_seconds() + 120) <= 0.6
        await kube.list_page(PODS)
        assert abs((kube.server_now() - SystemClock().now()).total_seconds()) <= 0.6


async def test_a_wall_clock_that_is_set_does_not_move_the_servers(server: FakeApiServer) -> None:
    """A pass between a step of NTP by an hour and the next answer must end no run by its deadline."""
    clock = SetClock(0)
    async with KubeClient(server.endpoint, clock) as kube:
        await kube.list_page(PODS)
        clock.ahead_seconds = 3600
        assert abs((kube.server_now() - SystemClock().now()).total_seconds()) <= 0.6


async def test_a_watch_yields_lines_of_any_size(server: FakeApiServer, kube: KubeClient) -> None:
    """An object of 1.5 MB, beside small ones, comes whole."""
    big = {**run_body("big"), "spec": {"task": {"agentDeployment": "fleet", "input": "x" * 1_500_000}}}
    server.memory.create("agentruns", "ns", run_body("a"))
    server.memory.create("agentruns", "ns", big)
    server.memory.create("agentruns", "ns", run_body("c"))
    async with aclosing(kube.watch(AGENT_RUNS, send_initial_events=True)) as lines:
        sizes = [len(json.loads(await anext(lines))["object"]["spec"]["task"].get("input", "")) for _ in range(3)]
    assert sizes == [0, 1_500_000, 0]


@pytest.mark.parametrize("how", ["reset", "truncate", "hang"])
async def test_a_watch_that_breaks_is_unavailable(server: FakeApiServer, kube: KubeClient, how: str) -> None:
    """A reset, an end within a line, and silence are errors; a clean end is an end."""
    server.memory.create("agentruns", "ns", run_body("a"))
    server.inject(Break(after_lines=1, how=how), is_watch)  # type: ignore[arg-type]  # of the parameters
    async with aclosing(kube.watch(AGENT_RUNS, send_initial_events=True)) as lines:
        await anext(lines)
        with pytest.raises(Unavailable, match=r"cannot watch AgentRun \*: "):
            await anext(lines)


async def test_a_watch_left_early_gives_its_connection_back(server: FakeApiServer, kube: KubeClient) -> None:
    """Closing the generator closes the stream."""
    server.memory.create("agentruns", "ns", run_body("a"))
    async with aclosing(kube.watch(AGENT_RUNS, send_initial_events=True)) as lines:
        await anext(lines)
        connector = kube._session.connector
        assert connector is not None
        assert len(connector._acquired) == 1
    assert not connector._acquired
