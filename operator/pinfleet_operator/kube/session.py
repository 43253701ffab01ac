"""HTTP sessions that send nothing twice and tell nobody anything: shared by the API server's client and the pods'."""

import ssl
from typing import Final

import aiohttp
from aiohttp.http import HttpProcessingError

from pinfleet_operator.api.keys import FIELD_MANAGER

BROKEN: Final = (aiohttp.ClientError, HttpProcessingError, OSError, TimeoutError, ValueError)
"""What aiohttp raises on purpose or lets through where a call did not end with an answer."""


def open_session(connections: int, *, ssl_context: ssl.SSLContext | None = None) -> aiohttp.ClientSession:
    """A session with at most so many connections."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, ssl=ssl_context or True, keepalive_timeout=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,  # a look at ~/.netrc for every request costs 0.8 ms, and would send its password
        read_bufsize=2**18,
        headers={
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # gzip costs the other end more than the network saves
            "User-Agent": FIELD_MANAGER,
        },
    )
    # aiohttp sends a PUT or DELETE again when a kept connection was closed under it; here the caller decides that.
    session._retry_connection = False  # noqa: SLF001 - no public setting; a test holds it
    return session


def words(err: BaseException) -> str:
    """What went wrong, for a message."""
    return str(err) or type(err).__name__
