"""Where the API server is and how the operator proves who it is: kubeconfig or the pod's service account.

The only module that loads the `kubernetes` package, and only when called: its import costs a second and 50 MiB. What
comes out is small and plain; the rest never sees that package.
"""

import asyncio
import importlib
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from pinfleet_operator.clock import Clock

log = structlog.get_logger()

REREAD_SECONDS: Final = 60.0  # kubelet rotates service account tokens in place, well before they expire
RELOAD_SECONDS: Final = 1.0  # many calls answered 401 at the same time reload once


class Tokens(Protocol):
    """Where the Authorization header comes from."""

    async def authorization(self) -> str | None:
        """The header's value now; None: the client certificate alone says who we are."""

    async def reload(self) -> None:
        """Read the credentials again: the API server refused them."""


class FixedToken:
    """A token that never changes, or none."""

    def __init__(self, token: str | None = None) -> None:
        self._token = token

    async def authorization(self) -> str | None:
        """The header's value."""
        return f"Bearer {self._token}" if self._token else None

    async def reload(self) -> None:
        """Nothing to read again."""


@dataclass(frozen=True)
class Endpoint:
    """An API server, and who we are to it."""

    server: str  # URL without a trailing slash
    ssl_context: ssl.SSLContext | None  # None: plain HTTP, for tests
    tokens: Tokens
    server_name: str | None = None  # name in the server's certificate, where it is not the URL's host


class LoadedTokens:
    """Tokens of a loaded configuration, read again every minute and after a 401.

    Reading runs in a thread: a kubeconfig may start a program that takes seconds.
    """

    def __init__(self, load: Callable[[], Any], loaded: Any, clock: Clock) -> None:
        self._load, self._clock = load, clock
        self._header: str | None = loaded.get_api_key_with_prefix("BearerToken")
        self._read_at = clock.boottime()
        self._reading = asyncio.Lock()

    async def authorization(self) -> str | None:
        """The header's value, read at most a minute ago unless reading fails."""
        if self._header is not None and self._age() > REREAD_SECONDS:
            await self._read(REREAD_SECONDS)
        return self._header

    async def reload(self) -> None:
        """Read the credentials again, unless that was done a moment ago."""
        await self._read(RELOAD_SECONDS)

    def _age(self) -> float:
        return self._clock.boottime() - self._read_at

    async def _read(self, if_older_than_seconds: float) -> None:
        async with self._reading:
            if self._age() <= if_older_than_seconds:
                return
            self._read_at = self._clock.boottime()
            try:
                loaded = await asyncio.to_thread(self._load)
            except Exception as err:  # noqa: BLE001 - a half-written file, a failing program: the old token is tried on
                log.warning("credentials_unreadable", cause=str(err))
                return
            self._header = loaded.get_api_key_with_prefix("BearerToken")


def load_endpoint(clock: Clock, *, kubeconfig: str | None = None) -> Endpoint:
    """The API server of `kubeconfig`, else of $KUBECONFIG, else the one this pod runs under, else of ~/.kube/config.

    Raises:
        kubernetes.config.ConfigException: there is none, or it is not usable; the process cannot start.
    """
    path = kubeconfig or os.environ.get("KUBECONFIG") or None
    in_cluster = path is None and "KUBERNETES_SERVICE_HOST" in os.environ

    def load() -> Any:
        from kubernetes import client  # noqa: PLC0415 - heavy: see the module's words

        config: Any = importlib.import_module("kubernetes.config")  # it has no types

        loaded = client.Configuration()
        if in_cluster:
            config.load_incluster_config(client_configuration=loaded, try_refresh_token=False)
        else:
            config.load_kube_config(config_file=path, client_configuration=loaded)
        return loaded

    loaded = load()
    return Endpoint(
        server=loaded.host.rstrip("/"),
        ssl_context=_ssl_context(loaded) if loaded.host.startswith("https") else None,
        tokens=LoadedTokens(load, loaded, clock),
        server_name=loaded.tls_server_name or None,
    )


def _ssl_context(loaded: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=loaded.ssl_ca_cert)
    if not loaded.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if loaded.cert_file:
        context.load_cert_chain(loaded.cert_file, loaded.key_file)
    return context
