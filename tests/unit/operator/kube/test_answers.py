"""A 404 costs a fleet its runs, so it is believed only as the API server's own word about that very object."""

import json

import pytest

from pinfleet_operator.errors import ClusterError, NotFound, Unavailable
from pinfleet_operator.kube.client import KubeClient
from pinfleet_operator.kube.resources import AGENT_DEPLOYMENTS
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.faults import Answer
from tests.fakes.reflection import Json


def encoded(body: Json) -> bytes:
    """As JSON."""
    return json.dumps(body).encode()


GONE = {"name": "support", "group": "pinfleet.dev", "kind": "agentdeployments"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"404 page not found", Unavailable),
        (b"", Unavailable),
        (b'{"kind":"Status","reason":"NotFound","code":404}', Unavailable),
        (encoded({"reason": "NotFound", "details": GONE | {"kind": "services", "group": ""}}), Unavailable),
        (encoded({"reason": "NotFound", "details": GONE | {"name": "another"}}), Unavailable),
        (encoded({"reason": "Whatever", "details": GONE}), Unavailable),
        (encoded({"reason": "NotFound", "details": GONE}), NotFound),
        (encoded({"reason": "NotFound", "details": {"name": "ns", "kind": "namespaces"}}), NotFound),
        (encoded({"reason": "NotFound", "details": {"name": "other", "kind": "namespaces"}}), Unavailable),
    ],
)
async def test_only_an_api_servers_word_about_the_object_means_that_it_is_gone(
    server: FakeApiServer, kube: KubeClient, body: bytes, expected: type[ClusterError]
) -> None:
    """A proxy's 404, or one of a path that is not served, must not cost a fleet its runs."""
    server.inject(Answer(404, body=body), lambda _: True)
    with pytest.raises(ClusterError) as caught:
        await kube.get(AGENT_DEPLOYMENTS, "ns", "support")
    assert type(caught.value) is expected
