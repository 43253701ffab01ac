"""The kubelet's HTTPS endpoint, for `kubectl logs [-f] [-p] [--tail]`; a policy refuses exec before it comes here.

Only the API server's client certificate is let in.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from localcluster.kubelet.containers import Container
from localcluster.kubelet.pods import Pod

_CLIENT = "kube-apiserver-kubelet-client"
_CHUNK = 65_536
_FOLLOW_SECONDS = 0.1


class LogServer:
    """Serves one node's logs.

    Args:
        name: the node, whose certificate is used.
        pki: the folder of certificates.
        pods: the pods of the node by uid, as they are at any time.
    """

    def __init__(self, name: str, pki: Path, pods: Mapping[str, Pod]) -> None:
        self._pods = pods
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki / "ca.crt"))
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.load_cert_chain(pki / f"{name}.crt", pki / f"{name}.key")

    async def start(self, address: str) -> int:
        """Listen on a free port of the address.

        Returns:
            The port.
        """
        app = web.Application(middlewares=[_only_the_api_server])
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, address, 0, ssl_context=self._context)
        await site.start()
        return int(runner.addresses[0][1])

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        container = self._find(request.match_info)
        is_previous = request.query.get("previous") == "true"
        number = container.record.restarts - (1 if is_previous else 0)
        path = container.files.log(number)
        if number < 0 or not path.exists():
            text = f'container "{container.spec["name"]}" has no log: it has not started so often'
            raise web.HTTPBadRequest(text=text)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        is_followed = request.query.get("follow") == "true" and not is_previous
        tail = request.query.get("tailLines")
        limit = request.query.get("limitBytes")
        left = int(limit) if limit else None
        with contextlib.suppress(ConnectionResetError):  # the reader had enough
            async for chunk in self._read(container, path, int(tail) if tail else None, is_followed=is_followed):
                await response.write(chunk if left is None else chunk[:left])
                left = None if left is None else left - len(chunk)
                if left is not None and left <= 0:
                    break
            await response.write_eof()
        return response

    async def _read(
        self, container: Container, path: Path, tail: int | None, *, is_followed: bool
    ) -> AsyncIterator[bytes]:
        """What is in the log; and what is added until the execution ends, when it is followed."""
        with path.open("rb") as log:
            if tail is not None:
                lines = log.read().splitlines(keepends=True)
                yield b"".join(lines[-tail:] if tail else [])
            container_id = container.record.container_id
            while True:
                is_live = container.record.container_id == container_id and container.record.is_running
                if chunk := log.read(_CHUNK):
                    yield chunk
                elif is_followed and is_live:
                    await asyncio.sleep(_FOLLOW_SECONDS)
                else:
                    return

    def _find(self, match: Mapping[str, str]) -> Container:
        """The container that the path names."""
        for pod in self._pods.values():
            meta = pod.object["metadata"]
            if (meta["namespace"], meta["name"]) == (match["namespace"], match["pod"]):
                for container in [*pod.inits, *pod.containers]:
                    if container.spec["name"] == match["container"]:
                        return container
        raise web.HTTPNotFound(text=f"there is no container {match['container']} in pod {match['pod']} on this node")


@web.middleware
async def _only_the_api_server(request: web.Request, handler: Handler) -> web.StreamResponse:
    certificate = request.get_extra_info("peercert") or {}
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    if names != [_CLIENT]:
        raise web.HTTPForbidden(text="only the API server may ask")
    return await handler(request)
