"""kopf's part starts wherever the operator does."""

import asyncio
import getpass
from typing import NoReturn

import pytest

from pinfleet_operator.handlers import run_kopf
from pinfleet_operator.kube.credentials import Endpoint


class _Tokens:
    """A file of tokens that is never there: kopf must have begun before it asks."""

    async def reload(self) -> None:
        """Never answer."""
        await asyncio.Event().wait()

    async def authorization(self) -> str:
        """Never answer."""
        await asyncio.Event().wait()
        return ""


async def test_a_user_without_a_name_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch of fleets starts under a user id that has no entry in /etc/passwd, as containers have."""

    def nameless() -> NoReturn:
        raise KeyError("getpwuid(): uid not found: 65532")

    monkeypatch.setattr(getpass, "getuser", nameless)
    started = asyncio.Event()
    endpoint = Endpoint("https://127.0.0.1:1", None, _Tokens())
    watching = asyncio.create_task(run_kopf(lambda _namespace, _name: None, endpoint=endpoint, on_started=started.set))
    waiting = asyncio.create_task(started.wait())
    await asyncio.wait({watching, waiting}, return_when=asyncio.FIRST_COMPLETED)
    assert (started.is_set(), watching.done()) == (True, False)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
