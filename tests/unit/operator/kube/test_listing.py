"""A list is whole and of one moment, or it is an error."""

import json

import pytest

from pinfleet_operator.errors import Gone, Unavailable
from pinfleet_operator.kube import listing
from pinfleet_operator.kube.client import KubeClient
from pinfleet_operator.kube.listing import list_all
from pinfleet_operator.kube.resources import AGENT_RUNS
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.faults import Answer, is_list
from tests.fakes.reflection import run_body


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE_SIZE", 10)


@pytest.fixture
def expected(server: FakeApiServer) -> list[str]:
    """Three pages of runs; their names."""
    names = [f"run-{n:02}" for n in range(25)]
    for name in names:
        server.memory.create("agentruns", "ns", run_body(name))
    return names


async def names_of(kube: KubeClient) -> list[str]:
    """What the list shows."""
    found = await list_all(kube, AGENT_RUNS)
    return [json.loads(bytes(item))["metadata"]["name"] for item in found.items]


async def test_every_page_is_read(server: FakeApiServer, kube: KubeClient, expected: list[str]) -> None:
    """Three pages, one list."""
    assert await names_of(kube) == expected
    assert len(server.requests) == 3


async def test_a_token_that_expires_starts_over(server: FakeApiServer, kube: KubeClient, expected: list[str]) -> None:
    """No object twice, none missing."""
    server.inject(Answer(410), lambda request: "continue" in request.query)
    assert await names_of(kube) == expected
    assert len(server.requests) == 5


async def test_tokens_that_always_expire_end_in_one_page(
    server: FakeApiServer, kube: KubeClient, expected: list[str]
) -> None:
    """The last try has no token that could expire."""
    server.inject(Answer(410), lambda request: "continue" in request.query, times=99)
    assert await names_of(kube) == expected
    assert "limit" not in server.requests[-1]


async def test_a_version_that_is_too_old_is_gone_at_once(server: FakeApiServer, kube: KubeClient) -> None:
    """Asking again would not make it younger."""
    server.inject(Answer(410), is_list, times=99)
    with pytest.raises(Gone):
        await list_all(kube, AGENT_RUNS, resource_version="1", resource_version_match="Exact")
    assert len(server.requests) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"items":[]}'])
async def test_an_answer_that_is_no_list_is_unavailable(server: FakeApiServer, kube: KubeClient, body: bytes) -> None:
    """A proxy's page is not an empty collection."""
    server.inject(Answer(200, body=body), is_list)
    with pytest.raises(Unavailable, match=r"cannot list AgentRun \*: the answer is no list"):
        await list_all(kube, AGENT_RUNS)


async def test_null_items_are_an_empty_list(server: FakeApiServer, kube: KubeClient) -> None:
    """The server writes null for an empty collection of some kinds."""
    server.inject(Answer(200, body=b'{"metadata":{"resourceVersion":"7"},"items":null}'), is_list)
    assert await list_all(kube, AGENT_RUNS) == ([], "7")
