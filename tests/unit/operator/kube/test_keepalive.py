"""A connection carries one request at a time, once, and another one only if nothing is in doubt."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from pinfleet_operator.kube.deadlines import Deadlines
from pinfleet_operator.kube.keepalive import Keepalive, Origin

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers every request with the same bytes; records requests and connections."""

    def __init__(self) -> None:
        self.answer: bytes | None = OK  # None: silence
        self.requests: list[bytes] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.writers.append(writer)
        try:
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                if self.answer is not None:
                    writer.write(self.answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A server on loopback."""
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    yield made
    for writer in made.writers:
        writer.transport.abort()
    listening.close()
    await listening.wait_closed()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Keepalive]:
    """A client of it with at most two connections."""
    made = Keepalive(Origin("127.0.0.1", server.port), Deadlines(), connections=2)
    yield made
    made.close()


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(5):
        while not is_so():  # noqa: ASYNC110 - a condition of the test
            await asyncio.sleep(0.001)


async def test_a_connection_is_used_again(server: Server, client: Keepalive) -> None:
    """One after the other needs one connection."""
    for _ in range(3):
        assert (await client.ask("GET", "/x", {}, seconds=5)).body == b"ok"
    assert len(server.writers) == 1


async def test_no_more_connections_than_allowed(server: Server, client: Keepalive) -> None:
    """The others wait."""
    await asyncio.gather(*(client.ask("GET", "/x", {}, seconds=5) for _ in range(8)))
    assert len(server.writers) == 2
    assert len(server.requests) == 8


async def test_a_call_that_is_given_up_takes_its_connection_with_it(server: Server, client: Keepalive) -> None:
    """Its late answer must not be taken for that of the next call."""
    server.answer = None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await client.ask("GET", "/x", {}, seconds=5)
    server.answer = OK
    assert (await client.ask("GET", "/x", {}, seconds=5)).body == b"ok"
    assert len(server.writers) == 2


async def test_a_call_has_a_time_limit(server: Server, client: Keepalive) -> None:
    """It ends then, whether it waits for its answer or for a connection, and the connection is not used again."""
    server.answer = None
    calls = [client.ask("GET", "/x", {}, seconds=limit) for limit in (0.1, 0.05, 0.15)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in found] == [TimeoutError] * 3
    assert not client._open
    server.answer = OK
    assert (await client.ask("GET", "/x", {}, seconds=5)).body == b"ok"


async def test_the_limits_of_many_calls_need_one_timer() -> None:
    """The first to come due sets it; those that have ended keep nothing alive."""
    loop, deadlines = asyncio.get_running_loop(), Deadlines()
    late, early, ended = (loop.create_future() for _ in range(3))
    deadlines.set(late, loop.time() + 0.04)
    deadlines.set(early, loop.time() + 0.02)
    deadlines.set(ended, loop.time() + 0.01)
    deadlines.drop(ended)
    with pytest.raises(TimeoutError):
        await early
    assert not late.done()
    with pytest.raises(TimeoutError):
        await late
    assert not ended.done()
    assert deadlines._timer is None


async def test_bytes_that_nobody_asked_for_end_the_connection(server: Server, client: Keepalive) -> None:
    """They would be read as the next answer."""
    await client.ask("GET", "/x", {}, seconds=5)
    server.writers[0].write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    await until(lambda: not client._open)
    assert (await client.ask("GET", "/x", {}, seconds=5)).body == b"ok"


async def test_a_kept_connection_that_was_closed_is_not_used(server: Server, client: Keepalive) -> None:
    """The server may close it whenever it is idle."""
    await client.ask("GET", "/x", {}, seconds=5)
    server.writers[0].transport.abort()
    await until(lambda: not client._open)
    assert (await client.ask("GET", "/x", {}, seconds=5)).body == b"ok"
    assert len(server.requests) == 2


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", b"nonsense\r\n\r\n"])
async def test_a_broken_answer_is_an_error_and_is_not_asked_for_twice(
    server: Server, client: Keepalive, answer: bytes
) -> None:
    """Whether to ask again is the caller's knowledge."""
    server.answer = answer
    asking = asyncio.create_task(client.ask("PATCH", "/x", {}, b"{}", seconds=5))
    await until(lambda: bool(server.requests))
    server.writers[0].close()
    with pytest.raises((OSError, ValueError)):
        await asking
    assert len(server.requests) == 1


async def test_what_is_asked_before_a_request_may_stop_it(server: Server, client: Keepalive) -> None:
    """A leader that lost its Lease while it waited for a connection sends nothing."""

    def refuse() -> None:
        raise PermissionError

    with pytest.raises(PermissionError):
        await client.ask("PATCH", "/x", {}, b"{}", before=refuse, seconds=5)
    assert server.requests == []


@pytest.mark.parametrize("path", ["/x\r\nEvil: 1", "/x\nEvil: 1"])
async def test_a_line_break_gets_into_no_head(server: Server, client: Keepalive, path: str) -> None:
    """Neither by a path nor by a header."""
    with pytest.raises(ValueError, match="line break"):
        await client.ask("GET", path, {}, seconds=5)
    with pytest.raises(ValueError, match="line break"):
        await client.ask("GET", "/x", {"A": path}, seconds=5)
    assert server.requests == []


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://10.0.0.1", ("10.0.0.1", 80, "")),
        ("http://[fd00::1]:6443/k8s/clusters/c-1/", ("fd00::1", 6443, "/k8s/clusters/c-1")),
        ("https://api.example", ("api.example", 443, "")),
    ],
)
def test_an_origin_is_read_from_a_url(url: str, expected: tuple[str, int, str]) -> None:
    """A path before the API's own is a proxy's."""
    origin = Origin.of(url, None)
    assert (origin.host, origin.port, origin.prefix) == expected
    assert (origin.ssl_context is None) == url.startswith("http:")
