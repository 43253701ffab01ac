"""``kill_everywhere``: one test case for each commit of a run's journal, its pod gone right before it, and after it.

A pod that is gone commits nothing more, and its code is stopped; the next pod takes the run over. Held in each case:
the outcome is that of the run that nobody killed (unless a call is in doubt), nothing recorded runs again, and every
call of a tool has one key.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pinfleet import values
from pinfleet.agent import Agent
from pinfleet.calling import AGAIN
from pinfleet.declared import ToolSpec
from pinfleet.errors import JournalRefused
from pinfleet.identity import StepKey
from pinfleet.journal.interface import (
    Batch,
    Claim,
    ClaimResult,
    CommitResult,
    History,
    Journal,
    Migration,
    Owner,
    StepRow,
)
from pinfleet.journal.sqlite import SqliteJournal
from pinfleet.journal.wrapped import WrappedJournal
from pinfleet.rules import ALL, Rules
from pinfleet.testing.fleet import Fleet
from pinfleet.testing.run import Run

Script = Callable[[Run], Awaitable[None]]
Around = Callable[[], AbstractContextManager[object]]
OpenJournal = Callable[[Path], Journal]
Tell = Callable[..., None]


@dataclass(frozen=True)
class Kill:
    """Where the pod goes: at this commit of the run, counted over all pods, from 1."""

    commit: int
    when: Literal["before", "after"]

    def __str__(self) -> str:
        return f"{self.when}-commit-{self.commit}"


@dataclass(frozen=True)
class Plan:
    """What is executed in every case."""

    agent: Agent
    given: object
    script: Script | None
    around: Around
    open_journal: OpenJournal
    rules: Rules
    sigkill: bool

    @cached_property
    def expected(self) -> "_Seen":
        """What the run shows that nobody kills."""
        return asyncio.run(_execute(self, None))

    def cases(self) -> list[Kill]:
        """Return a case for each side of each commit."""
        return [Kill(n, when) for n in range(1, self.expected.commits + 1) for when in ("before", "after")]

    def check(self, kill: Kill) -> None:
        """Hold the run that was killed against the one that was not.

        Raises:
            AssertionError: Something was lost, or done twice.
        """
        try:
            seen = asyncio.run(_execute(self, kill))
        except Exception as err:
            raise AssertionError(f"killed {kill}: {type(err).__name__}: {err}") from err
        problems = [*_done_again(seen), *_sent_too_often(self.agent, seen)]
        if not seen.in_doubt and seen.outcome != self.expected.outcome:
            problems.append(f"it ended with {seen.outcome}, not with {self.expected.outcome}")
        if problems:
            raise AssertionError(f"killed {kill}: " + "; ".join(problems))


def kill_everywhere(
    agent: Agent,
    given: object = None,
    *,
    script: Script | None = None,
    around: Around = nullcontext,
    journal: OpenJournal | None = None,
    sigkill: bool = False,
    rules: Rules = ALL,
) -> Callable[..., None]:
    """Return a test of one case per commit and side.

    Args:
        agent: Whose run it is.
        given: The run's input.
        script: What people do: advances, sends, approves. It must be the same every time.
        around: Entered around every execution, such as a provider that starts empty.
        journal: Opens a journal in a folder; SQLite, if not given.
        sigkill: Whether each pod is a forked process that a real SIGKILL ends: what its code kept in memory is gone,
            so a provider must be a file or a server, and code that waits for something of its own never goes on.
            Not on Windows, and not in a session in which other threads live: a fork takes none along.
        rules: All of them, but in a negative control.
    """
    plan = Plan(agent, given, script, around, journal or _sqlite, rules, sigkill)

    def test(kill: Kill) -> None:
        plan.check(kill)

    test.pinfleet_cases = plan.cases  # type: ignore[attr-defined] # the plugin makes the cases of it
    test.pinfleet_plan = plan  # type: ignore[attr-defined]
    return test


# -- one execution ---------------------------------------------------------------------------------------------------


@dataclass
class _Seen:
    """What one execution showed."""

    commits: int
    outcome: tuple[str, bytes, str]
    events: list[tuple[str, dict[str, Any]]]
    in_doubt: bool  # a call ended as unknown, or a person is asked what became of it


class _Mortal(WrappedJournal):
    """A pod's journal that goes with the pod.

    Args:
        journal: The journal itself.
        kill: Where this pod goes.
        before: How many commits other pods made.
        tell: Hears of each commit, and of each step that is durable.
        die: Ends this process; None: the pod only seems to be gone.
    """

    def __init__(
        self, journal: Journal, kill: Kill | None, before: Callable[[], int], tell: Tell, die: Callable[[], None] | None
    ) -> None:
        super().__init__(journal)
        self._kill = kill
        self._before = before
        self._tell = tell
        self._die = die
        self._is_gone = False

    def commit(self, owner: Owner, batch: Batch, *, max_steps: int, now: datetime) -> CommitResult:
        """Commit, unless the pod is gone."""
        return self._through(lambda: self._journal.commit(owner, batch, max_steps=max_steps, now=now), batch.steps)

    def _through(self, commit: Callable[[], CommitResult], steps: Sequence[StepRow] = ()) -> CommitResult:
        self._require_alive()
        is_here = self._kill is not None and self._kill.commit == self._before() + 1
        self._tell("commit")
        if is_here and self._kill is not None and self._kill.when == "before":
            self._go()
        result = commit()
        if result.status == "committed":
            for row in steps:
                self._tell("recorded", key=row.key, status=row.status)
        if is_here:
            self._go()
        return result

    def migrate(self, owner: Owner, migration: Migration) -> CommitResult:
        """Migrate, unless the pod is gone; it counts as a commit."""
        return self._through(lambda: self._journal.migrate(owner, migration))

    def claim(self, claim: Claim) -> ClaimResult:
        """Claim, unless the pod is gone."""
        self._require_alive()
        return self._journal.claim(claim)

    def load(self, run: str) -> History:
        """Load, unless the pod is gone."""
        self._require_alive()
        return self._journal.load(run)

    def _go(self) -> None:
        if self._die is not None:
            self._die()
        self._is_gone = True
        self._require_alive()

    def _require_alive(self) -> None:
        if self._is_gone:
            raise JournalRefused("this pod is gone: the test killed it")


async def _execute(plan: Plan, kill: Kill | None) -> _Seen:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, plan.around():
        events: list[tuple[str, dict[str, Any]]] = []
        fleet = Fleet(lambda: _mortal(plan, Path(folder), kill, events), rules=plan.rules, events=events)
        fleet.clock.install()
        try:
            run = await (
                _start_forked(plan, Path(folder), kill, events, fleet)
                if plan.sigkill
                else fleet.start(plan.agent, plan.given)
            )
            if plan.script is not None:
                await plan.script(run)
            return _seen(run)
        finally:
            fleet.clock.remove()
            fleet.close()


def _seen(run: Run) -> _Seen:
    outcome = run.outcome
    error = f"{outcome.error.type}: {outcome.error.message}" if outcome.error is not None else ""
    in_doubt = any(event == "recorded" and each["status"] == "unknown" for event, each in run.events)
    in_doubt |= any(wait.name.endswith(AGAIN) for wait in run.waiting_for)
    return _Seen(_commits(run.events), (run.state, bytes(outcome.result), error), run.events, in_doubt)


def _commits(events: list[tuple[str, dict[str, Any]]]) -> int:
    return sum(1 for event, _ in events if event == "commit")


def _mortal(plan: Plan, folder: Path, kill: Kill | None, events: list[tuple[str, dict[str, Any]]]) -> _Mortal:
    """Return the journal of a pod that shares this process."""

    def tell(event: str, **values: Any) -> None:
        events.append((event, values))

    return _Mortal(plan.open_journal(folder), kill, lambda: _commits(events), tell, None)


async def _start_forked(
    plan: Plan, folder: Path, kill: Kill | None, events: list[tuple[str, dict[str, Any]]], fleet: Fleet
) -> Run:
    from pinfleet.testing.forked import ForkedRun, die  # noqa: PLC0415 - there is no fork on Windows

    def open_journal(tell: Tell) -> Journal:
        made = [_commits(events)]  # by former pods; this one counts on

        def count(event: str, run: str = "", **values: Any) -> None:
            made[0] += event == "commit"
            tell(event, run, **values)

        return _Mortal(plan.open_journal(folder), kill, lambda: made[0], count, die)

    text = values.encode(plan.given, "input", tagged=False)
    run = ForkedRun(plan.agent, text, open_journal=open_journal, events=events, rules=plan.rules, move=fleet)
    await run.begin()
    return run


# -- what must hold --------------------------------------------------------------------------------------------------


def _done_again(seen: _Seen) -> list[str]:
    """Name what was executed after it was recorded."""
    recorded: set[StepKey] = set()
    again = []
    for event, each in seen.events:
        if event == "recorded":
            recorded.add(each["key"])
        elif event in {"step", "sent"} and each["key"] in recorded:
            again.append(f"{each['key']} was recorded, and ran again")
    return again


def _sent_too_often(agent: Agent, seen: _Seen) -> list[str]:
    """Name calls with two keys, and calls that were sent again against their policy."""
    keys: dict[StepKey, list[str]] = {}
    for event, each in seen.events:
        if event == "sent":
            keys.setdefault(each["key"], []).append(each["idempotency_key"])
    problems = [f"{key} was sent with {len(set(used))} keys" for key, used in keys.items() if len(set(used)) > 1]
    for key, used in keys.items():
        spec = agent.steps.get(key.name)  # None: another version of the code has it
        if isinstance(spec, ToolSpec) and spec.policy == "unknown" and not spec.asks and len(used) > 1:
            problems.append(f"{key} was sent {len(used)} times, and its provider honours no keys")
    return problems


def _sqlite(folder: Path) -> Journal:
    return SqliteJournal(folder / "journal.db")
