"""A run whose pods are processes: each assignment is forked, and what kills it is a real SIGKILL.

Nothing of a pod outlives it but the journal, and what its code wrote outside. The parent plays the operator, and hears
what the code does over a pipe, event by event, so that it knows what had happened when the process went.
"""

import asyncio
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from pinfleet.agent import Agent
from pinfleet.identity import StepKey
from pinfleet.journal.interface import Journal
from pinfleet.rules import Rules
from pinfleet.testing.pod import TestPod
from pinfleet.testing.run import Run
from pinfleet.wire import Offer, Previous, RunListing

_LISTED: Final = "listed"
_LOST: Final = frozenset({"fenced", "drained"})


class Tell(Protocol):
    """Writes one event to the parent, whole and at once."""

    def __call__(self, event: str, run: str = "", **values: Any) -> None:
        """Write it."""


OpenJournal = Callable[[Tell], Journal]


class ForkedRun(Run):
    """One run, whose every assignment is a process.

    Args:
        agent: Its code.
        given: JSON text of its input.
        open_journal: Opens the journal, in the child; told of what it commits.
        events: Hears what its code does.
        rules: All of them, but in a negative control.
    """

    def __init__(
        self,
        agent: Agent,
        given: bytes,
        *,
        open_journal: OpenJournal,
        events: list[tuple[str, dict[str, Any]]],
        rules: Rules,
        move: Any,
    ) -> None:
        super().__init__(move, agent, "run-1", given, max_steps=1_000, requester="", events=events)
        self._open_journal = open_journal
        self._rules = rules

    async def _assign(self) -> None:
        previous = Previous(pod_uid=f"pod-{self._epoch}", is_gone=True) if self._epoch else None
        self._epoch += 1
        listed = self._in_a_child(self._offer(previous))
        if listed is None or listed.state in _LOST:
            await self._assign()
            return
        self._listed, self.steps = listed, listed.steps

    def _in_a_child(self, offer: Offer) -> RunListing | None:
        """Execute one assignment in a process; None if it was killed."""
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            self._be_the_child(offer, write)
        os.close(write)
        with os.fdopen(read) as pipe:
            told = [json.loads(line) for line in pipe]
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
            raise AssertionError("the pod's process failed; see its output")
        for each in told:
            if each["event"] != _LISTED:
                self.events.append((each.pop("event"), _read(each)))
        if os.WIFSIGNALED(status):
            return None
        return msgspec.json.decode(told[-1]["listing"], type=RunListing)

    def _be_the_child(self, offer: Offer, pipe: int) -> None:
        def tell(event: str, run: str = "", **values: Any) -> None:
            line = json.dumps({"event": event, "run": run} | values, default=repr)
            os.write(pipe, line.encode() + b"\n")

        code = 1
        try:
            asyncio.run(self._live(offer, tell))
            code = 0
        except BaseException:  # noqa: BLE001 - a child that returned would be a second test session
            traceback.print_exc(file=sys.stderr)
            sys.stderr.flush()
        os._exit(code)

    async def _live(self, offer: Offer, tell: Tell) -> None:
        journal = self._open_journal(tell)
        uid = f"pod-{self._epoch}"
        options: dict[str, Any] = {"park_after_seconds": 0.0, "rules": self._rules, "trace": tell}
        pod = TestPod(self._agent, journal, uid=uid, version=self._version, **options)
        await pod.offer(self.uid, offer)
        listed = await pod.changed(lambda run: run.state != "running", self.uid)
        tell(_LISTED, listing=msgspec.json.encode(listed).decode())
        pod.leave()


def die() -> None:
    """End this process as a node failure does."""
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def _read(values: dict[str, Any]) -> dict[str, Any]:
    if "key" in values:
        values["key"] = StepKey(*values["key"])
    return values
