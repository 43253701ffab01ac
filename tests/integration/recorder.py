"""Records a real cluster while tests or the demo use it: watches, the journals as they grow, the audit log, the trace.

It reads with the administrator's certificate and writes nothing. One recorder serves a whole session; `of` cuts one
namespace out of it.
"""

import contextlib
import hashlib
import http.client
import json
import re
import sqlite3
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psycopg

from hack.stage import SYSTEM_NAMESPACE
from localcluster import Cluster
from tests.integration.recording import WRITES, Json, Recording, RunRow, StepRow, TraceLine, Write
from tests.sim.history import Change

CUSTOM: Final = "/apis/pinfleet.dev/v1alpha1"
PATHS: Final = {
    "agentdeployments": f"{CUSTOM}/agentdeployments",
    "agentversions": f"{CUSTOM}/agentversions",
    "agentruns": f"{CUSTOM}/agentruns",
    "pods": "/api/v1/pods",
    "leases": "/apis/coordination.k8s.io/v1/leases?fieldSelector=metadata.name=pinfleet-operator",
}
DEEP: Final = re.compile(rb"\[{200,}\]{200,}")
SAMPLE_SECONDS = 0.5  # between two looks into the journals
CATCH_UP_SECONDS = 20.0
UNSEEN: Final = "changed unseen"


class Recorder:
    """Watches of every kind and a look into the journals now and then, each in a thread."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._seen: dict[str, list[Change]] = {plural: [] for plural in PATHS}
        self._steps: dict[StepRow, None] = {}
        self._claims: dict[RunRow, None] = {}
        self._gaps: list[tuple[str, str]] = []  # namespace, and what changed in it unseen
        self._databases: list[str] = []
        self._stopping = threading.Event()
        self._watching: dict[str, http.client.HTTPConnection] = {}
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin; what changes from now on is recorded."""
        for plural, path in PATHS.items():
            version = self._list(path)["metadata"]["resourceVersion"]
            self._threads.append(threading.Thread(target=self._follow, args=(plural, path, version), daemon=True))
        self._threads.append(threading.Thread(target=self._sample, daemon=True))
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End every thread."""
        self._stopping.set()
        for connection in list(self._watching.values()):
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(2)
        for thread in self._threads:
            thread.join(timeout=10)

    def of(self, namespace: str, trace: Path) -> Recording:
        """What happened in a namespace so far; waits until the watches have shown what is there now."""
        until = time.monotonic() + CATCH_UP_SECONDS
        while (missing := self._missing(namespace)) and time.monotonic() < until:
            time.sleep(0.05)
        self._read_journals()
        changes = {plural: self._of(plural, namespace) for plural in PATHS}
        uids = {change.item["metadata"]["uid"] for change in changes["agentruns"]}
        return Recording(
            namespace=namespace,
            changes=changes,
            writes=writes_of(self._cluster.audit_log, namespace),
            steps=[row for row in list(self._steps) if row.run in uids],
            claims=[row for row in list(self._claims) if row.run in uids],
            trace=trace_of(trace),
            ended_at=time.time(),
            gaps=[*(what for where, what in self._gaps if where == namespace), *missing],
        )

    # The API server

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        pki = self._cluster.layout.pki
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        port = self._cluster.facts.ports["apiserver"]
        return http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=timeout)

    def _list(self, path: str) -> Json:
        """Every object of a kind; a CRD is served a moment after it is established."""
        until = time.monotonic() + CATCH_UP_SECONDS
        while True:
            with contextlib.closing(self._connection(10)) as connection:
                connection.request("GET", path)
                answer = connection.getresponse()
                content = answer.read()
            if answer.status == http.client.OK:
                return loads(content)
            assert time.monotonic() < until, f"GET {path}: {answer.status} {content.decode()}"
            time.sleep(0.05)

    def _follow(self, plural: str, path: str, version: str) -> None:
        """Watch one kind until stopped; a cut watch goes on where it ended."""
        while not self._stopping.is_set():
            try:
                with contextlib.closing(self._connection(3600)) as connection:
                    self._watching[plural] = connection
                    mark = "&" if "?" in path else "?"
                    connection.request("GET", f"{path}{mark}watch=1&resourceVersion={version}")
                    for line in _watched(connection.getresponse()):
                        version = self._take(plural, loads(line), version)
            except (OSError, http.client.HTTPException, ValueError):
                self._stopping.wait(0.2)

    def _take(self, plural: str, event: Json, version: str) -> str:
        """Keep one event; the resourceVersion to go on from."""
        item = event["object"]
        if event["type"] == "ERROR":
            return self._list_again(plural, f"the watch was refused after {version}: {item.get('message')}")
        found = str(item["metadata"]["resourceVersion"])
        self._seen[plural].append(Change(int(found), time.time(), event["type"], item))
        return found

    def _list_again(self, plural: str, why: str) -> str:
        """Go on from a list, as after a restart of the API server; it is a gap only where something was missed."""
        listed = self._list(PATHS[plural])
        latest = {change.item["metadata"]["uid"]: change for change in list(self._seen[plural])}
        there = {item["metadata"]["uid"]: item for item in listed["items"]}
        missed = [(uid, "MODIFIED", item) for uid, item in there.items()
                  if uid not in latest or latest[uid].rv < int(item["metadata"]["resourceVersion"])]  # fmt: skip
        missed += [(uid, "DELETED", change.item) for uid, change in latest.items()
                   if uid not in there and change.verb != "DELETED"]  # fmt: skip
        for uid, verb, item in missed:
            self._gaps.append((item["metadata"]["namespace"], f"{plural} {uid} {UNSEEN}: {why}"))
            self._seen[plural].append(Change(int(item["metadata"]["resourceVersion"]), time.time(), verb, item))
        return str(listed["metadata"]["resourceVersion"])

    def _of(self, plural: str, namespace: str) -> list[Change]:
        seen = list(self._seen[plural])
        own = [change for change in seen if change.item["metadata"]["namespace"] == namespace]
        if plural != "leases" or own:
            return own
        return [change for change in seen if change.item["metadata"]["namespace"] == SYSTEM_NAMESPACE]

    def _missing(self, namespace: str) -> list[str]:
        """Objects whose last state the watches have not shown."""
        found = []
        for plural, path in PATHS.items():
            latest = {change.item["metadata"]["uid"]: change for change in self._of(plural, namespace)}
            there = {i["metadata"]["uid"]: i["metadata"] for i in self._list(path)["items"]}
            mine = {uid: meta for uid, meta in there.items() if plural != "leases" and meta["namespace"] == namespace}
            late = [uid for uid, meta in mine.items()
                    if uid not in latest or latest[uid].rv < int(meta["resourceVersion"])]  # fmt: skip
            late += [uid for uid, change in latest.items() if uid not in there and change.verb != "DELETED"]
            found += [f"the watch of {plural} has not shown {uid}" for uid in late]
        return found

    # The journals

    def also_reads(self, url: str) -> None:
        """Look into a journal on PostgreSQL, too."""
        self._databases.append(url)

    def _sample(self) -> None:
        while not self._stopping.wait(SAMPLE_SECONDS):
            self._read_journals()

    def _read_journals(self) -> None:
        for path in sorted(self._cluster.layout.claims.glob("*/journal.db")):
            with contextlib.suppress(sqlite3.Error, OSError), contextlib.closing(_open(path)) as db:
                self._read(db)
        for url in list(self._databases):
            with contextlib.suppress(psycopg.Error), psycopg.connect(url, autocommit=True, connect_timeout=2) as far:
                self._read(far)

    def _read(self, db: "sqlite3.Connection | psycopg.Connection[Any]") -> None:
        self._claims |= dict.fromkeys(claims_of(db))
        self._steps |= dict.fromkeys(steps_of(db))


@contextlib.contextmanager
def recording_of(cluster: Cluster) -> Iterator[Recorder]:
    """What happens on a cluster, for the length of a block."""
    made = Recorder(cluster)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def loads(text: bytes) -> Json:
    """A JSON object; of what is nested too deep for Python, as the input of a test, the depth is left out."""
    try:
        found: Json = json.loads(text)
    except RecursionError:
        found = json.loads(DEEP.sub(b"[]", text))
    return found


def _watched(answer: http.client.HTTPResponse) -> http.client.HTTPResponse:
    """A watch that has begun.

    Raises:
        OSError: it has not; an API server that starts does not serve everything.
    """
    if answer.status != http.client.OK:
        raise OSError(f"{answer.status} {answer.reason}")
    return answer


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2)


def steps_of(db: "sqlite3.Connection | psycopg.Connection[Any]") -> list[StepRow]:
    """Every counted step of a journal."""
    columns = "committed, run, scope, name, n, epoch, attempt, version, result, blob"
    rows = db.execute(f"SELECT {columns} FROM step WHERE kind = 'step' ORDER BY committed")
    return [
        StepRow(_seconds(at), run, scope, name, n, epoch, attempt, version, _digest(result or blob))
        for at, run, scope, name, n, epoch, attempt, version, result, blob in rows
    ]


def claims_of(db: "sqlite3.Connection | psycopg.Connection[Any]") -> list[RunRow]:
    """Every run of a journal, as it stands."""
    rows = db.execute("SELECT claimed, uid, epoch, boot, pod, version, state, ended FROM run ORDER BY claimed")
    return [
        RunRow(_seconds(at), run, epoch, boot, pod, version, state, _seconds(ended) if ended else None)
        for at, run, epoch, boot, pod, version, state, ended in rows
    ]


def _digest(value: bytes | str | None) -> bytes:
    return hashlib.sha256(value.encode() if isinstance(value, str) else value or b"").digest()[:8]


def _seconds(when: str | datetime) -> float:
    return (datetime.fromisoformat(when) if isinstance(when, str) else when).timestamp()


def writes_of(log: Path, namespace: str) -> list[Write]:
    """Every write in a namespace, by anybody, from the audit log; Leases excepted, which are written all the time."""
    marked = f'"namespace":"{namespace}"'
    with log.open(encoding="utf-8") as file:
        events = [json.loads(line) for line in file if marked in line and line.endswith("\n")]
    return [
        Write(_seconds(event["stageTimestamp"]), event["user"]["username"], event["verb"], _resource(event),
              event["objectRef"].get("name", ""), event.get("responseStatus", {}).get("code", 0))
        for event in events
        if event["verb"] in WRITES and "dryRun" not in event["requestURI"] and _resource(event) != "leases"
    ]  # fmt: skip


def _resource(event: Json) -> str:
    found = event["objectRef"]
    return f"{found['resource']}/{found['subresource']}" if found.get("subresource") else str(found["resource"])


def trace_of(path: Path) -> list[TraceLine]:
    """Every beginning of a step's body, from the file that the agents append to."""
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        TraceLine(each["at"], each["run"], str(each["step"]), each["epoch"], each["pod"], each.get("version", ""))
        for each in lines
    ]
