"""The kubelet's client of the API server: calls, and a list-and-watch that never gives up."""

import asyncio
import json
import logging
import random
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

Object = dict[str, Any]

STRATEGIC = "application/strategic-merge-patch+json"
FAILURES = (aiohttp.ClientError, OSError, TimeoutError, ValueError)

NOT_FOUND, CONFLICT, GONE, FORBIDDEN = 404, 409, 410, 403
_ERRORS = 400
_WATCH_SECONDS = 240
_RETRY_SECONDS = (0.1, 2.0)

log = logging.getLogger("kubelet.api")


class ApiError(Exception):
    """The API server answered with an error."""

    def __init__(self, what: str, status: int, message: str) -> None:
        super().__init__(f"cannot {what}: {status} {message}")
        self.status = status


@dataclass(frozen=True)
class Listed:
    """The whole truth at one moment: what is not in it is gone."""

    items: list[Object]  # every object that matches


@dataclass(frozen=True)
class Changed:
    """One object changed."""

    type: str  # ADDED, MODIFIED or DELETED
    object: Object  # as it is now, or as it was when it was deleted


class Api:
    """Calls with one client certificate.

    Args:
        server: the API server's URL.
        pki: the folder of certificates.
        user: the certificate's file name.
    """

    def __init__(self, server: str, pki: Path, user: str) -> None:
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / f"{user}.crt", pki / f"{user}.key")
        self._server = server
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=64),
            timeout=aiohttp.ClientTimeout(total=15),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        params: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Object:
        """One call.

        Raises:
            ApiError: the server answered with an error.
            aiohttp.ClientError, TimeoutError: nobody answered.
        """
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type}
        async with self._session.request(method, self._server + path, data=data, params=params, headers=headers) as got:
            text = await got.text()
            if got.status >= _ERRORS:
                raise ApiError(f"{method} {path}", got.status, _message(text))
            answer: Object = json.loads(text)
            return answer

    async def follow(self, path: str, params: dict[str, str]) -> AsyncIterator[Listed | Changed]:
        """List, then watch, for ever; after any trouble list again."""
        pause = _RETRY_SECONDS[0]
        while True:
            try:
                listed = await self.call("GET", path, params=params)
                yield Listed(listed["items"])
                pause = _RETRY_SECONDS[0]
                version = listed["metadata"]["resourceVersion"]
                while True:
                    async for kind, item in self._watch(path, params, version):
                        version = item["metadata"]["resourceVersion"]
                        if kind != "BOOKMARK":
                            yield Changed(kind, item)
            except (ApiError, *FAILURES) as err:
                log.warning("watch of %s broke: %r; listing again in %.1f s", path, err, pause)
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
                pause = min(pause * 2, _RETRY_SECONDS[1])

    async def _watch(self, path: str, params: dict[str, str], version: str) -> AsyncIterator[tuple[str, Object]]:
        """One watch call, until the server ends it."""
        query = params | {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=_WATCH_SECONDS + 30)
        async with self._session.get(self._server + path, params=query, timeout=timeout) as got:
            if got.status >= _ERRORS:
                raise ApiError(f"watch {path}", got.status, _message(await got.text()))
            rest = b""
            async for chunk in got.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise ApiError(f"watch {path}", status.get("code", 500), status.get("message", ""))
                    yield event["type"], event["object"]


def _message(text: str) -> str:
    """The message of a Status object, or the text itself."""
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text[:500]


def pod_path(pod: Object, tail: str = "") -> str:
    """The path of a pod."""
    meta = pod["metadata"]
    return f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}{tail}"
