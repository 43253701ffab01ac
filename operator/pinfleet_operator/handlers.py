"""kopf's part: it watches AgentDeployments and makes a fleet due whenever one changes. It writes nothing.

``__main__`` runs it on the leader, in the operator's own loop; if `run_kopf` returns or raises while the process leads,
the process ends. Level-triggered: an event says which fleet to look at, never what happened to it.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final

import aiohttp
import kopf

from pinfleet_operator.api.keys import API_VERSION
from pinfleet_operator.clock import SystemClock
from pinfleet_operator.kube.credentials import Endpoint, load_endpoint
from pinfleet_operator.kube.resources import AGENT_DEPLOYMENTS

REQUEST_SECONDS: Final = 10.0
STREAM_SECONDS: Final = 600
LONGEST_RETRY_SECONDS: Final = 30.0


class _Backoffs:
    """Pauses between tries, without an end: a watch that gives up would end the operator."""

    def __iter__(self) -> Iterator[float]:
        seconds = 0.5
        while True:
            yield seconds
            seconds = min(LONGEST_RETRY_SECONDS, seconds * 2)


async def run_kopf(
    add: Callable[[str, str], None],
    *,
    namespace: str | None = None,
    endpoint: Endpoint | None = None,
    on_started: Callable[[], None] = lambda: None,
) -> None:
    """Watch AgentDeployments until cancelled.

    Args:
        add: takes namespace and name of a fleet that changed.
        namespace: to watch; None: all.
        endpoint: the API server and who we are; None: as the environment says. kopf gets a session of its own, which it
            closes itself.
        on_started: called once kopf has taken SIGTERM and SIGINT for itself, so that they can be taken back: the
            process ends as a whole, and kopf with it.
    """
    if endpoint is None:
        endpoint = await asyncio.to_thread(load_endpoint, SystemClock())
    ours = asyncio.all_tasks()  # kopf cancels every other task of the loop when it ends
    tasks = await kopf.spawn_tasks(
        registry=_registry(add, endpoint),
        settings=_settings(),
        standalone=True,
        # Of its peering, which we do not use; its own guess fails for a user without a name. Its type is private.
        identity="pinfleet",  # type: ignore[arg-type]
        clusterwide=namespace is None,
        namespaces=[] if namespace is None else [namespace],
    )
    on_started()
    await kopf.run_tasks(tasks, ignored=ours)


def _registry(add: Callable[[str, str], None], endpoint: Endpoint) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()
    group, _, version = API_VERSION.partition("/")

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        """At the start, and again after a 401: then the credentials are read again."""
        await endpoint.tokens.reload()
        authorization = await endpoint.tokens.authorization()
        return kopf.AiohttpSession(
            server=endpoint.server,
            aiohttp_session=aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=endpoint.ssl_context or True, limit=8),
                headers={"Authorization": authorization} if authorization else {},
                trust_env=False,
            ),
        )

    @kopf.on.event(group, version, AGENT_DEPLOYMENTS.plural, registry=registry)
    async def changed(namespace: str | None, name: str | None, **_: Any) -> None:
        if namespace is not None and name is not None:
            add(namespace, name)

    return registry


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.scanning.disabled = True
    settings.networking.request_timeout = REQUEST_SECONDS
    settings.networking.connect_timeout = REQUEST_SECONDS
    settings.networking.error_backoffs = _Backoffs()
    settings.watching.server_timeout = STREAM_SECONDS
    settings.watching.client_timeout = STREAM_SECONDS + 30
    settings.watching.reconnect_backoff = 0.5
    return settings
