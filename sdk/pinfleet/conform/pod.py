"""The container under question, called over HTTP as the operator calls a pod; the standard library alone."""

import itertools
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

ENDED: Final = frozenset({"succeeded", "failed", "cancelled", "limit", "drained", "fenced", "incompatible"})
_SLACK_SECONDS: Final = 10.0  # beyond what a call was asked to wait


class Broken(Exception):
    """The container did something else than the contract says; the message says what."""


@dataclass(frozen=True)
class Answer:
    """One answer.

    Args:
        status: HTTP status.
        body: The JSON object; empty if there is none.
        seconds: How long it took.
    """

    status: int
    body: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


class Pod:
    """A container, and what the caller has to know of it.

    Args:
        url: Such as http://127.0.0.1:8080.
        token: A bearer token that it accepts.
        uid: Its PINFLEET_POD_UID.
        version: Its PINFLEET_VERSION.
        leader: A leader's number not below any that it has seen.
        patience: Seconds to wait for what must happen.
    """

    def __init__(
        self, url: str, *, token: str, uid: str, version: str, leader: int = 1, patience: float = 30.0
    ) -> None:
        self.url, self.token, self.uid, self.version = url.rstrip("/"), token, uid, version
        self.leader, self.patience = leader, patience
        self._names = itertools.count(1)
        self._stamp = f"{time.time_ns():x}"  # tells two sessions against one journal apart

    def new_run(self) -> str:
        """Return a run's uid that no journal knows."""
        return f"conform-{self._stamp}-{next(self._names)}"

    def call(self, method: str, path: str, body: object = None, **headers: str | None) -> Answer:
        """Call; a header given as None is left out.

        Raises:
            Broken: It does not answer, or with something that is no JSON object.
        """
        sent: dict[str, str | None] = {
            "Authorization": f"Bearer {self.token}",
            "Pinfleet-Pod": self.uid,
            "Pinfleet-Leader": str(self.leader),
        }
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)  # noqa: S310 - the user's own
        for name, value in sent.items():
            if value is not None:
                request.add_header(name, value)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        began = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=self.patience + _SLACK_SECONDS) as answer:  # noqa: S310
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            with refused:
                status, text = refused.code, refused.read()
        except OSError as err:
            raise Broken(f"{method} {path} was not answered: {err}") from err
        return Answer(status, _object(text, f"{method} {path}"), time.monotonic() - began)

    def expect(self, answer: Answer, status: int, code: str | None = None, **fields: object) -> Answer:
        """Return the answer if it is the expected one.

        Raises:
            Broken: It is another.
        """
        if answer.status != status or (code is not None and answer.body.get("code") != code):
            wanted = f"{status} {code}" if code else str(status)
            raise Broken(f"expected {wanted}, was answered {answer.status} {dict(answer.body)}")
        for name, value in fields.items():
            if answer.body.get(name) != value:
                raise Broken(f"expected {name} = {value!r} in the answer, found {answer.body.get(name)!r}")
        return answer

    def state(self, after: int = 0, boot: str = "", wait: int = 0) -> Answer:
        """Poll."""
        return self.expect(self.call("GET", f"/state?after={after}&boot={boot}&wait={wait}"), 200)

    def listing(self, run: str) -> Mapping[str, Any] | None:
        """Return how a run is listed."""
        runs = [listed for listed in self.state().body.get("runs", ()) if listed.get("uid") == run]
        if len(runs) > 1:
            raise Broken(f"one run is listed {len(runs)} times")
        return runs[0] if runs else None

    def until_ended(self, run: str) -> Mapping[str, Any]:
        """Wait until a run is listed with an end."""
        return self._until(run, ENDED, "to end")

    def until_running(self, run: str) -> Mapping[str, Any]:
        """Wait until a run is listed as running."""
        return self._until(run, frozenset({"running"}), "to run")

    def _until(self, run: str, states: frozenset[str], what: str) -> Mapping[str, Any]:
        found: dict[str, Any] = {}

        def is_there() -> bool:
            listed = self.listing(run)
            if listed is None:
                raise Broken("a run that was accepted and not acked is not listed")
            found.update(listed)
            return listed["state"] in states

        self.eventually(is_there, f"a run {what}")
        return found

    def eventually(self, is_true: Callable[[], bool], what: str) -> None:
        """Wait for what must happen.

        Raises:
            Broken: It did not.
        """
        deadline = time.monotonic() + self.patience
        while not is_true():
            if time.monotonic() > deadline:
                raise Broken(f"waited {self.patience:.0f} s in vain for {what}")
            time.sleep(0.05)

    def offer(self, run: str, given: object, *, epoch: int = 1, **fields: object) -> Answer:
        """Offer a run."""
        body: dict[str, object] = {"name": run, "version": self.version, "epoch": epoch, "attempt": 1, "input": given}
        body["limits"] = {"maxSteps": 1_000, "activeSecondsLeft": 600.0}
        return self.call("PUT", f"/runs/{run}", body | fields)

    def accepted(self, run: str, given: object, *, epoch: int = 1, **fields: object) -> int:
        """Offer a run that must be taken; return the change number."""
        n = self.expect(self.offer(run, given, epoch=epoch, **fields), 202).body.get("n")
        if not isinstance(n, int):
            raise Broken(f"an accepted offer carries its change number n; found {n!r}")
        return n

    def ack(self, run: str, epoch: int = 1) -> Answer:
        """Ack an end."""
        return self.call("POST", f"/runs/{run}/ack?epoch={epoch}")

    def end(self, run: str, epoch: int = 1, reason: str = "cancel") -> Answer:
        """Ask for an end."""
        return self.call("DELETE", f"/runs/{run}?epoch={epoch}&reason={reason}")

    def finish(self, run: str, epoch: int = 1) -> Mapping[str, Any]:
        """End a run and forget it; return how it ended."""
        self.expect(self.end(run, epoch), 202)
        ended = self.until_ended(run)
        self.expect(self.ack(run, epoch), 200)
        return ended


def _object(text: bytes, what: str) -> Mapping[str, Any]:
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError as err:
        if what.startswith(("GET /ping", "GET /ready")):
            return {}  # a probe may say what it likes
        raise Broken(f"{what} was answered with something that is no JSON: {text[:80]!r}") from err
    return found if isinstance(found, dict) else {}
