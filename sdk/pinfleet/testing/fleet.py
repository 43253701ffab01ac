"""Runs in tests: pods without sockets over one journal, and a clock that only the test moves."""

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import Any

from pinfleet import values
from pinfleet.agent import Agent
from pinfleet.journal.interface import Journal
from pinfleet.rules import ALL, Rules
from pinfleet.testing.fakeclock import FakeClock
from pinfleet.testing.pod import TestPod
from pinfleet.testing.run import Run


class Fleet:
    """What the fixture ``pinfleet`` is.

    Args:
        journal: Opens one more connection to the journal.
        rules: All of them, but in a negative control.
        events: Hears what the code of all runs does; each run has a list of its own, if not given.
    """

    def __init__(
        self,
        journal: Callable[[], Journal],
        *,
        rules: Rules = ALL,
        events: list[tuple[str, dict[str, Any]]] | None = None,
    ) -> None:
        self.clock = FakeClock()
        self._journal = journal
        self._rules = rules
        self._events = events
        self._pods: list[TestPod] = []
        self._numbers = count(1)

    async def start(
        self,
        agent: Agent,
        given: object = None,
        *,
        max_steps: int = 1_000,
        max_tokens: int | None = None,
        requester: str = "",
    ) -> Run:
        """Start a run, and return once it has ended, is parked, or waits on its pod.

        Args:
            agent: Its code.
            given: Its input.
            max_steps: Total.
            max_tokens: Total; None: no bound.
            requester: Who asked for it; may not approve what it asks.
        """
        text = values.encode(given, "input", tagged=False)
        uid = f"run-{next(self._numbers)}"
        bounds: dict[str, Any] = {"max_steps": max_steps, "max_tokens": max_tokens}
        run = Run(self, agent, uid, text, **bounds, requester=requester, events=self._events)
        await run.begin()
        return run

    def pod(self, agent: Agent, version: str, trace: Callable[..., Any]) -> TestPod:
        """Start another pod."""
        uid = f"pod-{len(self._pods) + 1}"
        options: dict[str, Any] = {"park_after_seconds": 0.0, "rules": self._rules, "trace": trace}
        pod = TestPod(agent, self._journal(), uid=uid, version=version, **options)
        self._pods.append(pod)
        return pod

    def move(self, length: timedelta) -> None:
        """Let time pass."""
        self.clock.move(length)

    def close(self) -> None:
        """Let the journal go."""
        for pod in self._pods:
            pod.leave()
