"""What is measured, and from where: CPU from /proc, writes from the API server's audit log."""

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

TICKS = os.sysconf("SC_CLK_TCK")
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
QUIET_SHARE, QUIET_SECONDS = 0.1, 1.0  # of a core, for so long


class _Object(msgspec.Struct):
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""


class _User(msgspec.Struct):
    username: str = ""


class _Response(msgspec.Struct):
    code: int = 0


class Event(msgspec.Struct, rename="camel"):
    """One request in the audit log."""

    verb: str
    user: _User
    request_received_timestamp: datetime
    stage_timestamp: datetime
    object_ref: _Object = msgspec.field(default_factory=_Object)
    response_status: _Response = msgspec.field(default_factory=_Response)

    @property
    def is_ok(self) -> bool:
        """Whether it was answered 2xx."""
        return 200 <= self.response_status.code < 300  # noqa: PLR2004 - 2xx


_EVENT = msgspec.json.Decoder(Event)


@dataclass(frozen=True)
class Written:
    """Status writes of one namespace's runs between two moments."""

    ok: int  # answered 2xx
    others: dict[int, int]  # by status
    seconds: float  # from the first one's arrival to the last one's answer

    @property
    def per_second(self) -> float:
        """Writes answered 2xx per second."""
        return self.ok / self.seconds if self.seconds else 0.0


class Audit:
    """The audit log from one moment on."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._offset = file.stat().st_size

    def events(self, namespace: str, resource: str = "agentruns") -> list[Event]:
        """Every request about one resource in a namespace since then."""
        return self._with(f'"namespace":"{namespace}"', f'"resource":"{resource}"')

    def _with(self, *marks: str) -> list[Event]:
        """Every request whose line holds all marks."""
        sought = [mark.encode() for mark in marks]
        with self._file.open("rb") as log:
            log.seek(self._offset)
            lines = [line for line in log if line.endswith(b"\n") and all(mark in line for mark in sought)]
        return [_EVENT.decode(line) for line in lines]

    def writes(self, account: str) -> Counter[str]:
        """How often one account has asked for a change since then, by resource; refused ones count too."""
        events = self._with(f'"username":"{account}"')
        return Counter(event.object_ref.resource for event in events if event.verb in WRITES)

    def status_writes(self, namespace: str, account: str) -> Written:
        """What one account wrote into the runs' status since then."""
        writes = [
            event
            for event in self.events(namespace)
            if event.verb == "patch" and event.object_ref.subresource == "status" and event.user.username == account
        ]
        good = [event for event in writes if event.is_ok]
        if not good:
            return Written(0, {}, 0.0)
        first = min(event.request_received_timestamp for event in good)
        last = max(event.stage_timestamp for event in good)
        others = Counter(event.response_status.code for event in writes if not event.is_ok)
        return Written(len(good), dict(others), (last - first).total_seconds())


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@dataclass(frozen=True)
class Memory:
    """Resident memory of a process, bytes."""

    now: int
    peak: int  # the most so far


def memory(pid: int) -> Memory:
    """What a process holds in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {name: value for name, _, value in (line.partition(":") for line in lines)}
    now, peak = (1024 * int(found[name].split()[0]) for name in ("VmRSS", "VmHWM"))
    return Memory(now, peak)


def wait_quiet(pid: int, seconds: float = 60) -> None:
    """Return once a process has nothing to do for a while.

    Raises:
        TimeoutError: it went on for all of `seconds`.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        before = cpu_seconds(pid)
        time.sleep(QUIET_SECONDS)
        if cpu_seconds(pid) - before < QUIET_SHARE * QUIET_SECONDS:
            return
    raise TimeoutError(f"process {pid} was not quiet within {seconds:.0f} s")


def wait_for(what: str, is_so: Callable[[], bool], seconds: float, pause: float = 0.1) -> None:
    """Return once it is so.

    Raises:
        TimeoutError: it was not in time.
    """
    until = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > until:
            raise TimeoutError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(pause)
