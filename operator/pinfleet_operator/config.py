"""Reads the operator's configuration from its environment; a value that cannot be used stops the process."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from pinfleet_operator.api.settings import RULES, Settings
from pinfleet_operator.errors import BadConfig
from pinfleet_operator.lease import LeaseTimes

PREFIX = "PINFLEET_"
SHORTEST_KEY_BYTES = 16


@dataclass(frozen=True)
class Config:
    """Everything that differs between two installations."""

    namespace: str  # of the Lease
    identity: str  # unique to this process, in the Lease
    lease: LeaseTimes
    key: bytes  # from which the pods' tokens are derived
    health_host: str
    health_port: int
    watched_namespace: str | None  # None: all namespaces
    is_verbose: bool  # logs at level debug
    settings: Settings


def read_config(environment: Mapping[str, str] = os.environ) -> Config:
    """The configuration.

    Raises:
        BadConfig: a variable is missing or cannot be used; the message names it and says what to write.
    """
    host, _, port = environment.get("PINFLEET_HEALTH_ADDRESS", "0.0.0.0:8081").rpartition(":")
    if not port.isdecimal():
        raise BadConfig("PINFLEET_HEALTH_ADDRESS must be HOST:PORT, such as 0.0.0.0:8081")
    return Config(
        namespace=_required(environment, "PINFLEET_NAMESPACE", "the namespace of the operator's Lease"),
        identity=f"{environment.get('PINFLEET_IDENTITY') or socket.gethostname()}_{os.urandom(4).hex()}",
        lease=_read_lease_times(environment),
        key=_read_key(Path(_required(environment, "PINFLEET_KEY_FILE", "a file with at least 16 random bytes"))),
        health_host=host.strip("[]"),
        health_port=int(port),
        watched_namespace=environment.get("PINFLEET_WATCH_NAMESPACE") or None,
        is_verbose=environment.get("PINFLEET_VERBOSE", "") not in {"", "0", "false"},
        settings=_read_settings(environment),
    )


def _required(environment: Mapping[str, str], name: str, what: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise BadConfig(f"{name} is not set: give it {what}")
    return value


def _read_key(path: Path) -> bytes:
    try:
        key = path.read_bytes()
    except OSError as err:
        raise BadConfig(f"cannot read PINFLEET_KEY_FILE {path}: {err.strerror}") from err
    if len(key) < SHORTEST_KEY_BYTES:
        raise BadConfig(f"the key in {path} has {len(key)} bytes, {SHORTEST_KEY_BYTES} are needed")
    return key


def _read_lease_times(environment: Mapping[str, str]) -> LeaseTimes:
    usual = LeaseTimes()
    times = LeaseTimes(
        lease=int(_read_number(environment, "PINFLEET_LEASE_SECONDS", usual.lease)),
        renew_deadline=_read_number(environment, "PINFLEET_RENEW_DEADLINE_SECONDS", usual.renew_deadline),
        retry=_read_number(environment, "PINFLEET_LEASE_RETRY_SECONDS", usual.retry),
    )
    if not 0 < times.retry < times.renew_deadline < times.lease:
        raise BadConfig(
            "PINFLEET_LEASE_RETRY_SECONDS must be less than PINFLEET_RENEW_DEADLINE_SECONDS, and that less than "
            f"PINFLEET_LEASE_SECONDS: {times.retry:g}, {times.renew_deadline:g} and {times.lease} are not"
        )
    return times


def _read_number(environment: Mapping[str, str], name: str, usual: float) -> float:
    text = environment.get(name, "")
    try:
        return float(text) if text else usual
    except ValueError as err:
        raise BadConfig(f"{name} must be a number, not {text!r}") from err


def _read_settings(environment: Mapping[str, str]) -> Settings:
    given: dict[str, int | float] = {}
    for setting in fields(Settings):
        text = environment.get(PREFIX + setting.name.upper())
        if text is None or setting.name == "rules_off":
            continue
        name = PREFIX + setting.name.upper()
        try:
            value = float(text) if isinstance(setting.default, float) else int(text)
        except ValueError as err:
            raise BadConfig(f"{name} must be a number, not {text!r}") from err
        if value < 0:
            raise BadConfig(f"{name} must not be negative")
        given[setting.name] = value
    off = frozenset(filter(None, environment.get("PINFLEET_UNSAFE_OFF", "").split(",")))
    if unknown := sorted(off - set(RULES)):
        raise BadConfig(f"PINFLEET_UNSAFE_OFF names no rule: {', '.join(unknown)}")
    return Settings(rules_off=off, **given)  # type: ignore[arg-type]  # each value has its default's type
