"""One run at a terminal: its trace, and a person who answers what it asks.

The run lives in the journal. Whoever ends the session, by Ctrl-C or by a crash, leaves it open; the next session under
the same name goes on where it stopped.
"""

import asyncio
import json
import sys
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, TextIO

import msgspec

from pinfleet import clock
from pinfleet.agent import Agent
from pinfleet.errors import Incompatible
from pinfleet.journal.sqlite import SqliteJournal
from pinfleet.local.fleet import LocalFleet, LocalRun
from pinfleet.local.trace import TracedJournal, short, stamp
from pinfleet.migration import NAME as MIGRATED
from pinfleet.wire import Decision, InboxMessage, Wait

SUCCEEDED: Final = 0
ENDED_OTHERWISE: Final = 1
STAYS_OPEN: Final = 3
_EVER: Final = datetime.min.replace(tzinfo=UTC)


class NoAnswer(Exception):
    """Nobody is at the terminal."""


@dataclass(kw_only=True)
class Session:
    """What is asked of a session.

    Args:
        agent: Whose run it is.
        state: The journal's file; its folder is made.
        name: The run's; one that is open goes on.
        given: JSON text of the input.
        skips_timers: Whether every timer is due at once.
        takes_changed_code: Whether a run that was recorded by other code goes on all the same.
        out: Where the trace goes.
        source: Where answers come from.
    """

    agent: Agent
    state: Path
    name: str
    given: bytes = b"null"
    skips_timers: bool = False
    takes_changed_code: bool = False
    out: TextIO = field(default_factory=lambda: sys.stdout)
    source: TextIO = field(default_factory=lambda: sys.stdin)

    async def live(self) -> int:
        """Go on with the run until it ends or nobody answers; return the exit code.

        Raises:
            Incompatible: The run was recorded by other code.
        """
        self.state.parent.mkdir(parents=True, exist_ok=True)
        self._refuse_changed_code()
        self._lines = _Lines(self.source, self.out)
        async with LocalFleet(self.agent, self._open, park_after_seconds=1.0, cancel_grace_seconds=5.0) as fleet:
            run = await fleet.start(self.name, self.given)
            try:
                await self._serve(fleet, run)
            except NoAnswer:
                self.say(f"{run.name} stays open, and waits; the same command goes on with it")
                return STAYS_OPEN
            return SUCCEEDED if run.state == "succeeded" else ENDED_OTHERWISE

    def say(self, line: str) -> None:
        """Add a line to the trace."""
        self.out.write(f"{stamp()}  {line}\n")
        self.out.flush()

    def _open(self) -> TracedJournal:
        return TracedJournal(SqliteJournal(self.state, codec=self.agent.codec), self.say)

    def _refuse_changed_code(self) -> None:
        journal = SqliteJournal(self.state, codec=self.agent.codec)
        try:
            history, steps = journal.load(self.name), journal.load_whole(self.name).steps
        finally:
            journal.close()
        if history.schema not in {0, self.agent.schema}:
            return  # a migration says whether it goes on
        since = max((row.committed for row in steps if row.key.name == MIGRATED), default=_EVER)
        other = sorted({row.manifest for row in steps if row.committed >= since} - {self.agent.manifest})
        if other and not self.takes_changed_code:
            raise Incompatible(
                f"run {self.name} recorded {len(history.steps)} steps with other code than this (manifest {other[0]}, "
                f"now {self.agent.manifest}). Start another with --name, or replay it on this code with --changed-code"
            )

    async def _serve(self, fleet: LocalFleet, run: LocalRun) -> None:
        answered: set[str] = set()
        while not run.is_over:
            asked = [wait for wait in run.waiting_for if (wait.hash or wait.id) not in answered]
            for wait in asked:
                answered.add(wait.hash or wait.id)
                await self._answer(fleet, run, wait)
            if not asked:
                run.changed.clear()
                await run.changed.wait()

    async def _answer(self, fleet: LocalFleet, run: LocalRun, wait: Wait) -> None:
        """Ask the person at the terminal for what a run waits for."""
        match wait.kind:
            case "Timer" if self.skips_timers:
                await fleet.update(run, timers_fired=(wait.id,))
            case "Approval":
                await fleet.update(run, decisions=(*run.offer.decisions, await self._decide(run, wait)))
            case "Message":
                number = len(run.offer.messages) + 1
                body = msgspec.Raw(await self._message(run, wait))
                await fleet.update(run, messages=(*run.offer.messages, InboxMessage(id=f"local-{number}", body=body)))

    async def _decide(self, run: LocalRun, wait: Wait) -> Decision:
        question = f"{run.name} asks: {wait.name} {short(bytes(wait.shown))}\napprove? [y/N, then a comment] "
        words = await self._lines.ask(question)
        first, _, comment = words.strip().partition(" ")
        verdict: Literal["approved", "denied"] = "approved" if first.lower() in {"y", "yes"} else "denied"
        return Decision(hash=wait.hash, decision=verdict, by="you", comment=comment, at=clock.now().wall)

    async def _message(self, run: LocalRun, wait: Wait) -> bytes:
        while True:
            words = await self._lines.ask(f"{run.name} waits for a message, {wait.name}\nJSON: ")
            try:
                return json.dumps(json.loads(words)).encode()
            except ValueError as err:
                self.say(f"that is no JSON: {err}")


class _Lines:
    """Lines of a terminal or a pipe; read by a thread that does not keep the process."""

    def __init__(self, source: TextIO, out: TextIO) -> None:
        self._source, self._out = source, out

    async def ask(self, question: str) -> str:
        """Ask, and wait for a line.

        Raises:
            NoAnswer: The input is over.
        """
        self._out.write(question)
        self._out.flush()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()

        def read() -> None:
            try:
                line = self._source.readline()
            except (OSError, ValueError):  # closed, or no terminal: nobody answers
                line = ""
            loop.call_soon_threadsafe(_set, answer, line)

        threading.Thread(target=read, name="terminal", daemon=True).start()
        line = await answer
        if not line:
            self._out.write("\n")
            raise NoAnswer
        return line


def _set(answer: "asyncio.Future[str]", line: str) -> None:
    if not answer.done():
        answer.set_result(line)
