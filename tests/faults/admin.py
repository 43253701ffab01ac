"""The scenario's own client of the API server: the administrator, beside the relays."""

import asyncio
import json
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Self

import aiohttp

from localcluster import Cluster
from tests.faults.calls import Json

CUSTOM: Final = "/apis/pinfleet.dev/v1alpha1/namespaces"
CORE: Final = "/api/v1/namespaces"
LEASES: Final = "/apis/coordination.k8s.io/v1/namespaces"
RBAC: Final = "/apis/rbac.authorization.k8s.io/v1/namespaces"
POLL_SECONDS: Final = 0.2
PATIENCE_SECONDS: Final = 60.0  # longer than an outage
MERGE: Final = "application/merge-patch+json"
STARTING: Final = (429, 503)  # storage is (re)initializing; not all paths are installed
APPLY: Final = "application/apply-patch+yaml"


class Waited(AssertionError):
    """What was waited for did not come."""


class Starting(Exception):
    """The API server does not serve everything yet."""


class Admin:
    """Calls by path; use it as an async context manager."""

    def __init__(self, cluster: Cluster) -> None:
        pki = cluster.layout.pki
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        self._server, self._context = cluster.server, context
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(self._server, connector=aiohttp.TCPConnector(ssl=self._context, limit=0))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(self, method: str, path: str, body: Any = None, *, kind: str = "application/json") -> Json:
        """One call; empty where the object is not there. While the API server is away or starts it is made again.

        Raises:
            AssertionError: the API server refused it.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return await self._ask(method, path, body, kind)
            except (aiohttp.ClientConnectionError, Starting):
                if time.monotonic() > until:
                    raise
            await asyncio.sleep(POLL_SECONDS)

    async def _ask(self, method: str, path: str, body: Any, kind: str) -> Json:
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, path, data=data, headers={"Content-Type": kind}) as response:
            text = await response.text()
            if response.status in STARTING:
                raise Starting(f"{method} {path}: {text}")
            assert response.status < 300 or response.status == 404, f"{method} {path}: {response.status} {text}"
            found: Json = json.loads(text) if response.status != 404 else {}
            return found

    async def get(self, path: str) -> Json:
        """One object; empty: it is not there."""
        return await self.ask("GET", path)

    async def list(self, path: str) -> list[Json]:
        """Every object of a collection."""
        items: list[Json] = (await self.ask("GET", path)).get("items", [])
        return items

    async def apply(self, path: str, manifest: Json) -> None:
        """Server-side apply."""
        name = manifest["metadata"]["name"]
        await self.ask("PATCH", f"{path}/{name}?fieldManager=scenario&force=true", manifest, kind=APPLY)

    async def merge(self, path: str, body: Json) -> None:
        """A merge patch."""
        await self.ask("PATCH", path, body, kind=MERGE)


async def wait_for(what: str, is_so: Callable[[], Awaitable[Any]], seconds: float) -> Any:
    """Ask until the answer is true; returns it.

    Raises:
        Waited: it did not become true in time.
    """
    until = time.monotonic() + seconds
    while True:
        if answer := await is_so():
            return answer
        if time.monotonic() > until:
            raise Waited(f"waited {seconds:.0f} s in vain for {what}")
        await asyncio.sleep(POLL_SECONDS)
