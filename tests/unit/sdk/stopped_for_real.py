"""A pod that is stopped between a call's intent and its send, replaced, and then goes on: never two effects."""

import os
import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pinfleet.agent import Agent
from pinfleet.call import Call
from pinfleet.context import Ctx
from pinfleet.errors import NotSent, OutcomeUnknown
from pinfleet.journal.interface import Batch, CommitResult, Owner
from pinfleet.journal.opening import open_journal
from pinfleet.journal.wrapped import WrappedJournal
from pinfleet.rules import ALL
from pinfleet.testing import Fleet
from pinfleet.testing.forked import ForkedRun, Tell
from pinfleet.wire import Offer, Previous, RunListing
from tests.unit.sdk.fleets import empty


class Stopping(WrappedJournal):
    """A journal whose process is stopped right after it committed an intent, the first time."""

    def commit(self, owner: Owner, batch: Batch, *, max_steps: int, now: datetime) -> CommitResult:
        """Commit, then stop."""
        result = super().commit(owner, batch, max_steps=max_steps, now=now)
        if batch.calls and owner.epoch == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
        return result


class StoppedRun(ForkedRun):
    """A run whose first pod is stopped; it is not known to be gone."""

    pid = 0

    def _in_a_child(self, offer: Offer) -> RunListing | None:
        if offer.epoch > 1:
            return super()._in_a_child(_with(offer, Previous(pod_uid="pod-1", is_gone=False)))
        read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(read)
            self._be_the_child(offer, write)
        os.close(write)
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        self.pipe = os.fdopen(read)
        return None

    def go_on(self) -> str:
        """Let the first pod go on, and return what it said last."""
        os.kill(self.pid, signal.SIGCONT)
        with self.pipe as pipe:
            told = pipe.read().splitlines()
        os.waitpid(self.pid, 0)
        return told[-1]


def _with(offer: Offer, previous: Previous) -> Offer:
    return Offer(**{name: getattr(offer, name) for name in offer.__struct_fields__} | {"previous": previous})


def paying(ledger: Path, **options: Any) -> Agent:
    """Return an agent that pays once, by a provider that honours keys if the tool says so."""
    ledger.touch()
    agent = Agent("a")

    @agent.tool(call_timeout=timedelta(seconds=0.2), **options)
    def pay(call: Call) -> str:
        if not (options.get("resend") and call.key in ledger.read_text()):
            with ledger.open("a") as file:
                file.write(f"{call.key}\n")
        return "paid"

    @agent.main
    async def main(ctx: Ctx) -> str:
        try:
            return await pay()
        except OutcomeUnknown:
            return "in doubt"

    return agent


def sends(ledger: Path) -> int:
    """Return how many effects there were."""
    return len(ledger.read_text().splitlines())


def look_up(call: Call) -> str:
    """Know of nothing: the stopped pod has not sent yet."""
    raise NotSent


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
@pytest.mark.parametrize(
    ("options", "said"),
    [({"resend": True}, "paid"), ({}, "in doubt"), ({"reconcile": look_up}, "in doubt")],
)
async def test_a_pod_that_is_stopped_before_the_send(
    pinfleet: Fleet, tmp_path: Path, options: dict[str, Any], said: str, database: str
) -> None:
    """The pod that took over says what is known; the stopped one sends once more at most, and records nothing."""
    ledger = tmp_path / "ledger"
    url = str(tmp_path / "journal.db")
    if database == "postgres":
        url = os.environ["PINFLEET_TEST_POSTGRES"]
        with psycopg.connect(url, autocommit=True) as db:
            empty(db)

    def opened(_: Tell) -> Stopping:
        return Stopping(open_journal(url))

    run = StoppedRun(paying(ledger, **options), b"null", open_journal=opened, events=[], rules=ALL, move=pinfleet)
    await run.begin()
    assert await run.result() == said
    assert '\\"state\\":\\"fenced\\"' in run.go_on()
    assert sends(ledger) == 1
