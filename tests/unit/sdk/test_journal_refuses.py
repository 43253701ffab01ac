"""A database that cannot be used at all ends the pod, with what is wrong; it is not asked for ever."""

import asyncio
import contextlib
import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from pinfleet.agent import Agent
from pinfleet.context import Ctx
from pinfleet.errors import JournalRefused
from pinfleet.runtime import Execution
from tests.unit.sdk.conftest import MakePod, ServePod
from tests.unit.sdk.inline_pod import InlinePod, offer
from tests.unit.sdk.served_pod import until

DAMAGE = b"no database at all, but long enough to be read as a page" * 400


def stepping(swallowed: list[Exception]) -> tuple[Agent, asyncio.Event]:
    """Return an agent of two steps whose code goes on after any error, and what lets it take the second."""
    agent, go = Agent("a"), asyncio.Event()

    @agent.step
    async def note(n: int) -> int:
        return n

    @agent.main
    async def main(ctx: Ctx) -> str:
        await note(1)
        await go.wait()
        try:
            await note(2)
        except Exception as err:  # noqa: BLE001 - as an author may do
            swallowed.append(err)
        return "went on"

    return agent, go


def refuse(pod: InlinePod, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """Let a call of the pod's journal find it damaged."""

    def refused(*_: object, **__: object) -> Any:
        raise JournalRefused("cannot use the journal: damaged")

    monkeypatch.setattr(pod.worker._writer._journal, call, refused)


async def test_a_commit_that_is_refused_ends_the_execution(
    make_pod: MakePod, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The author's code sees no error that it could go on after; the run is given back."""
    swallowed: list[Exception] = []
    agent, go = stepping(swallowed)
    pod = make_pod(agent)
    told: list[JournalRefused] = []
    loop, heard = asyncio.get_running_loop(), asyncio.Event()

    def tell(err: JournalRefused) -> None:
        told.append(err)
        loop.call_soon_threadsafe(heard.set)

    pod.worker.on_refused = tell
    await pod.offer("r1", offer())
    async with asyncio.timeout(10):
        while (listed := pod.listing("r1")) is None or listed.steps < 1:
            await pod.driver.wait_for_change(pod.machine.n, 1)
            pod.tick()
    refuse(pod, monkeypatch, "commit")
    go.set()
    await pod.until("r1", "fenced")
    async with asyncio.timeout(10):
        await heard.wait()
    assert swallowed == []
    assert [str(err) for err in told] == ["cannot use the journal: damaged"]
    assert "journal refused; this execution is over" in caplog.messages


async def test_a_history_that_cannot_be_read_gives_the_run_back(
    make_pod: MakePod, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is executed without it."""
    agent, _ = stepping([])
    pod = make_pod(agent)
    refuse(pod, monkeypatch, "load")
    await pod.offer("r1", offer())
    await pod.until("r1", "fenced")
    assert failures(caplog) == [("r1", 1, "JournalRefused", "cannot use the journal: damaged")]


async def test_a_mistake_of_the_runtime_is_logged_with_its_type(
    make_pod: MakePod, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The listing says no more than that the run is given back: the log says why."""

    async def fails(_: Execution) -> None:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(Execution, "run", fails)
    pod = make_pod(stepping([])[0])
    await pod.offer("r1", offer())
    assert (await pod.until("r1", "fenced")).journal_epoch is None
    assert failures(caplog) == [("r1", 1, "ZeroDivisionError", "a mistake")]


def failures(caplog: pytest.LogCaptureFixture) -> list[tuple[object, ...]]:
    """What was logged of runs that the runtime gave back."""
    lines = [vars(record) for record in caplog.records if "the runtime failed" in record.message]
    assert all(line["levelno"] == logging.ERROR and line["exc_info"] for line in lines)
    return [(line["run"], line["epoch"], line["type"], line["cause"]) for line in lines]


def test_a_pod_does_not_start_on_a_damaged_database(serve_pod: ServePod, tmp_path: Any) -> None:
    """Its last words name the file and what is wrong with it."""
    (tmp_path / "journal.db").write_bytes(DAMAGE)
    with pytest.raises(
        AssertionError, match=r"pinfleet-agent: cannot use the journal .*journal\.db: file is not a data"
    ):
        serve_pod()


def test_a_pod_waits_for_a_database_that_may_come(serve_pod: ServePod, tmp_path: Path) -> None:
    """A database that cannot be opened at the start leaves the pod not ready, saying why, until it can."""
    (tmp_path / "journal.db").mkdir()  # no file can be opened there
    pod = serve_pod()
    assert "unable to open database file" in pod.events("not ready")[0]["cause"]
    assert pod.call("GET", "/ready").status == 503
    assert pod.offer("r1").body["code"] == "journal_unavailable"
    (tmp_path / "journal.db").rmdir()
    until(lambda: pod.call("GET", "/ready").status == 200, "the pod to be ready")
    assert pod.offer("r1").status == 202


@pytest.mark.parametrize("then", ["forever", "block"])
def test_a_pod_ends_once_its_database_is_of_another_major(serve_pod: ServePod, then: str) -> None:
    """Also while author code blocks; its last words say what is wrong."""
    pod = serve_pod()
    pod.offer("r0", then=then)
    newer = sqlite3.connect(pod.folder / "journal.db", isolation_level=None)
    newer.execute("BEGIN EXCLUSIVE")
    newer.execute("UPDATE meta SET value = '99' WHERE key = 'major'")
    assert pod.offer("r1").status == 503  # locked: it opens the file anew for the next call
    newer.execute("COMMIT")
    newer.close()
    with contextlib.suppress(OSError):  # it may be gone before it answers
        assert pod.offer("r1").status == 503
    assert pod.wait() in {1, 2}
    (line,) = pod.events("journal refused; the pod ends")
    assert "has major 99" in line["cause"]
