"""A pod as a real process, called over real HTTP on loopback."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TOKEN = "token-of-v1"  # noqa: S105 - of a test
AGENTS = Path(__file__).parent / "agents"
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    """One answer."""

    status: int
    body: dict[str, Any] = field(default_factory=dict)


def body(epoch: int = 1, **given: Any) -> dict[str, Any]:
    """Return an offer's body; what is not a field of it becomes the input."""
    offer: dict[str, Any] = {"name": "run", "version": "v1", "epoch": epoch, "attempt": 1}
    offer["limits"] = {"maxSteps": given.pop("max_steps", 1_000), "activeSecondsLeft": 1_000.0}
    for name in ("timersFired", "end", "version", "previous"):
        if name in given:
            offer[name] = given.pop(name)
    return offer | {"input": given}


class ServedPod:
    """One pod process; pods in one folder share its journal.

    Args:
        folder: Working folder: agent, journal, token, trace.
        uid: Of the pod.
        environment: Settings that differ.
    """

    def __init__(self, folder: Path, uid: str = "pod-1", **environment: str) -> None:
        self.uid = uid
        self.folder = folder
        shutil.copy(AGENTS / "scripted.py", folder / "scripted.py")
        if not (folder / "token").exists():
            (folder / "token").write_text(TOKEN + "\n")
        settings = {
            "PINFLEET_FLEET": "fleet",
            "PINFLEET_VERSION": "v1",
            "PINFLEET_POD_UID": uid,
            "PINFLEET_STATE_URL": str(folder / "journal.db"),
            "PINFLEET_SCHEMA_VERSION": "1",
            "PINFLEET_TOKEN_FILE": str(folder / "token"),
            "PINFLEET_PORT": "0",
            "PINFLEET_RUNS_PER_POD": "4",
            "PINFLEET_PARK_AFTER_SECONDS": "1",
            "PINFLEET_CANCEL_GRACE_SECONDS": "0.5",
            "PINFLEET_POD_IP": "127.0.0.1",
        }
        self.log_path = folder / f"log-{uid}"
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pinfleet.cli", "serve", "scripted:agent"],
                cwd=folder,
                env=os.environ | settings | environment,
                stderr=log,
            )
        self.address = self._address()

    def _address(self) -> str:
        found: list[str] = []

        def serves() -> bool:
            assert self.process.poll() is None, self.log_path.read_text()
            lines = self.events("serving")
            found.extend(f"http://{line['address'][0]}:{line['address'][1]}" for line in lines)
            return bool(found)

        until(serves, "the pod to serve")
        return found[0]

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines of an event."""
        lines = [line for line in self.log_path.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in map(json.loads, lines) if line["event"] == name]

    def call(self, method: str, path: str, given: object = None, **headers: str | None) -> Answer:
        """Call; a header given as None is left out."""
        sent: dict[str, str | None] = {
            "Authorization": f"Bearer {TOKEN}",
            "Pinfleet-Pod": self.uid,
            "Pinfleet-Leader": "1",
        }
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = given if isinstance(given, bytes) else None if given is None else json.dumps(given).encode()
        request = urllib.request.Request(self.address + path, data=data, method=method)  # noqa: S310 - loopback
        for name, value in sent.items():
            if value is not None:
                request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310
                text = answer.read()
                return Answer(answer.status, json.loads(text) if text else {})
        except urllib.error.HTTPError as refused:
            with refused:
                return Answer(refused.code, json.loads(refused.read()))

    def offer(self, uid: str = "r1", epoch: int = 1, **given: Any) -> Answer:
        """Offer a run."""
        return self.call("PUT", f"/runs/{uid}", body(epoch, **given))

    def listing(self, uid: str = "r1") -> dict[str, Any] | None:
        """Return how a run is listed."""
        runs = self.call("GET", "/state?after=0").body["runs"]
        return next((run for run in runs if run["uid"] == uid), None)

    def until_listed(self, state: str, uid: str = "r1") -> dict[str, Any]:
        """Wait until a run is listed in a state."""
        found: list[dict[str, Any]] = []

        def is_listed() -> bool:
            run = self.listing(uid)
            assert run is None or run["state"] in {"running", state}, run
            if run is not None and run["state"] == state:
                found.append(run)
            return bool(found)

        until(is_listed, f"{uid} to be {state}")
        return found[0]

    def trace(self) -> list[dict[str, Any]]:
        """Return the executions of steps, in order."""
        path = self.folder / "trace"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def go(self) -> None:
        """Let blocked code go on."""
        (self.folder / "go").touch()

    def kill(self) -> None:
        """End the process as a node failure does."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """Ask the process to end."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Wait for the process's end and return its code."""
        return self.process.wait(PATIENCE_SECONDS)


def until(is_true: Any, what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_true():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)
