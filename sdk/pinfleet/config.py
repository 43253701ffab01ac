"""What the pod's environment says; the operator sets it, this module names what is missing.

The journal is where ``PINFLEET_STATE_URL`` says (``sqlite:////absolute/path``, a bare absolute path, or a URL of
PostgreSQL), or where the file of ``PINFLEET_STATE_URL_FILE`` does: a URL of PostgreSQL out of a Secret's volume.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pinfleet.errors import BadConfiguration
from pinfleet.journal.opening import STATE_URLS, UrlFile, is_state_url

_OPERATOR: Final = "the operator sets it in every agent pod; by hand, export it"
RETENTION: Final = "PINFLEET_JOURNAL_RETENTION_SECONDS"
_PARK_AFTER_SECONDS: Final = 10.0
_CANCEL_GRACE_SECONDS: Final = 30.0
_DRAIN_GRACE_SECONDS: Final = 25.0
_HIGHEST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class Settings:
    """One pod's settings."""

    fleet: str
    version: str
    pod_uid: str
    state: str | UrlFile  # URL of the journal
    schema: int | None  # what the fleet declares; None: not said
    token_file: Path
    port: int  # 0: any free one
    host: str
    runs_per_pod: int
    park_after_seconds: float = _PARK_AFTER_SECONDS
    cancel_grace_seconds: float = _CANCEL_GRACE_SECONDS
    drain_grace_seconds: float = _DRAIN_GRACE_SECONDS  # after SIGTERM; less than Kubernetes' own 30
    retention_seconds: float | None = None  # what runs did goes so long after their end; None: never


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings.

    Raises:
        BadConfiguration: Names the variable, and who sets it.
    """
    read = _Reader(environment)
    return Settings(
        fleet=read.text("PINFLEET_FLEET"),
        version=read.text("PINFLEET_VERSION"),
        pod_uid=read.text("PINFLEET_POD_UID"),
        state=_state(read),
        schema=read.integer("PINFLEET_SCHEMA_VERSION", 1) if environment.get("PINFLEET_SCHEMA_VERSION") else None,
        token_file=Path(read.text("PINFLEET_TOKEN_FILE")),
        port=read.integer("PINFLEET_PORT", 0, _HIGHEST_PORT),
        host=environment.get("PINFLEET_POD_IP") or "0.0.0.0",  # noqa: S104 - the operator calls the pod's address
        runs_per_pod=read.integer("PINFLEET_RUNS_PER_POD", 1),
        park_after_seconds=read.seconds("PINFLEET_PARK_AFTER_SECONDS", _PARK_AFTER_SECONDS),
        cancel_grace_seconds=read.seconds("PINFLEET_CANCEL_GRACE_SECONDS", _CANCEL_GRACE_SECONDS),
        drain_grace_seconds=read.seconds("PINFLEET_DRAIN_GRACE_SECONDS", _DRAIN_GRACE_SECONDS),
        retention_seconds=read.seconds(RETENTION, 0.0) if environment.get(RETENTION) else None,
    )


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, name: str) -> str:
        value = self._environment.get(name, "")
        if not value:
            raise BadConfiguration(f"{name} is not set: {_OPERATOR}")
        return value

    def optional(self, name: str) -> str:
        return self._environment.get(name, "")

    def integer(self, name: str, lowest: int, highest: int = 2**31) -> int:
        value = self.text(name)
        if not value.isascii() or not value.isdigit() or not lowest <= int(value) <= highest:
            raise BadConfiguration(f"{name} is {value!r}; it must be a number from {lowest} to {highest}")
        return int(value)

    def seconds(self, name: str, default: float) -> float:
        value = self._environment.get(name, "")
        try:
            seconds = float(value) if value else default
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds < float("inf"):
            raise BadConfiguration(f"{name} is {value!r}; it must be seconds, 0 or more")
        return seconds


def _state(read: _Reader) -> str | UrlFile:
    file = read.optional("PINFLEET_STATE_URL_FILE")
    if file:
        return UrlFile(Path(file))
    url = read.text("PINFLEET_STATE_URL")
    if not is_state_url(url):
        raise BadConfiguration(f"PINFLEET_STATE_URL has {url.partition(':')[0]!r}; this SDK serves {STATE_URLS}")
    return url
