"""Any interleaving of two owners of one run, with crashes, redeliveries and parking: what the journal lets stand.

A model of the journal says what each call must answer; hypothesis looks for calls in an order that the journal answers
otherwise. With the fence taken out it must find one.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from pinfleet.identity import StepKey
from pinfleet.journal.interface import Batch, Claim, Commit, CommitResult, End, History, Journal, Migration, Owner
from pinfleet.journal.sqlite import SqliteJournal
from pinfleet.rules import ALL, Rules, without
from tests.unit.sdk.fleets import Fleet
from tests.unit.sdk.journal_contract import NOW, call, claim, commit, step

PODS = st.integers(0, 1)
MOVED = b'"moved"'


@dataclass
class Pod:
    """What one pod believes."""

    boot: str
    epoch: int = 0  # at which its code runs; 0: it runs none
    steps: int = 0  # that its code knows to be recorded
    found: History = field(default_factory=History)  # when it took the run


class Owners(RuleBasedStateMachine):
    """Two pods, one run."""

    journals: tuple[Journal, Journal]

    def __init__(self) -> None:
        super().__init__()
        self.run = f"r{next(_NUMBERS)}"
        self.pods = [Pod("boot-0"), Pod("boot-1")]
        self.assigned, self.epoch, self.boot, self.state = 0, 0, "", "none"
        self.schema = 1
        self.recorded: dict[StepKey, tuple[int, bytes]] = {}
        self.last: dict[int, tuple[int, Batch]] = {}  # what each pod asked for last, at which epoch

    @rule(pod=PODS)
    def assign(self, pod: int) -> None:
        """The operator gives the run to a pod, at a new epoch."""
        self.assigned += 1
        self._claim(pod, self.assigned)

    @rule(pod=PODS, back=st.integers(0, 2))
    @precondition(lambda self: self.assigned)
    def redeliver(self, pod: int, back: int) -> None:
        """An offer comes again, or late."""
        self._claim(pod, max(1, self.assigned - back))

    def _claim(self, pod: int, epoch: int) -> None:
        me = self.pods[pod]
        asked = Claim(
            run=self.run, name="run", epoch=epoch, boot=me.boot, pod=f"pod-{pod}", version="v1", schema=1, now=NOW
        )  # fmt: skip
        result = self.journals[pod].claim(asked)
        if self.state == "succeeded":
            assert result.status == "ended"
        elif epoch > self.epoch:
            assert result.status == "claimed"
            self.epoch, self.boot, self.state = epoch, me.boot, "running"
        elif (epoch, me.boot) == (self.epoch, self.boot):
            assert result.status == ("parked" if self.state == "parked" else "claimed")
        else:
            assert result.status == "fenced"
        assert result.epoch == self.epoch
        if result.status == "claimed":
            me.found = self.journals[pod].load(self.run)
            me.epoch, me.steps = epoch, len(me.found.steps)

    @rule(pod=PODS)
    def crash(self, pod: int) -> None:
        """A pod's process goes; another one is there, with another boot."""
        me = self.pods[pod]
        self.pods[pod] = Pod(me.boot + "'")
        self.last.pop(pod, None)

    @rule(pod=PODS, kind=st.sampled_from(["step", "call", "park", "end"]))
    @precondition(lambda self: any(pod.epoch for pod in self.pods))
    def act(self, pod: int, kind: str) -> None:
        """A pod's code commits what it believes to be next."""
        me = self.pods[pod]
        if not me.epoch:
            return
        n = me.steps + 1
        result = f'"{me.boot} {me.epoch}"'.encode()
        row = replace(step(n, result=result), attempt=n)
        batch = {
            "step": Batch(steps=(row,)),
            "call": Batch(calls=(call(n, key=f"{me.boot}-{n}"),)),
            "park": Batch(parks=True),
            "end": Batch(end=End("succeeded", result)),
        }[kind]
        self._commit(pod, me.epoch, batch)

    @rule(pod=PODS)
    def again(self, pod: int) -> None:
        """A COMMIT had no answer: the same batch comes again, however late."""
        if pod in self.last:
            self._commit(pod, *self.last[pod])

    def _commit(self, pod: int, epoch: int, batch: Batch) -> None:
        is_again = self.last.get(pod) == (epoch, batch)
        self.last[pod] = (epoch, batch)
        result = self.journals[pod].commit(Owner(self.run, epoch), batch, max_steps=1000, now=NOW)
        is_owner = epoch == self.epoch and self.state == "running"
        if result.status != "committed":
            assert not is_owner, f"{result.status}, though it has the run"
            self.pods[pod].epoch = 0
            return
        assert is_owner or is_again, "a stale owner committed"
        for row in batch.steps:
            kept = self.recorded.setdefault(row.key, (epoch, row.result))
            assert kept in {(epoch, row.result), (epoch, MOVED)}, "a recorded step changed"
            self.pods[pod].steps = max(self.pods[pod].steps, row.key.n)
        if is_owner:
            self.state = "parked" if batch.parks else "succeeded" if batch.end else "running"
        if batch.parks or batch.end:
            self.pods[pod].epoch = 0

    @rule(pod=PODS)
    def migrate(self, pod: int) -> None:
        """A pod takes the run from the schema that it found to the next, and gives the first step another result."""
        me, schema = self.pods[pod], self.pods[pod].found.schema
        if not me.epoch:
            return
        moved = [replace(row, result=MOVED) for row in me.found.steps.values() if row.key.n == 1]
        ran = replace(step(name="ctx.migration", scope=f"%{schema}"), kind="value")
        keys = tuple(row.key for row in moved)
        asked = Migration(schema=schema, to=schema + 1, ran=(ran,), replaced=keys, steps=tuple(moved))
        result = self.journals[pod].migrate(Owner(self.run, me.epoch), asked)
        may = (me.epoch, "running", schema) == (self.epoch, self.state, self.schema)
        assert (result.status == "committed") == may, f"{result.status} of schema {schema}, which is {self.schema}"
        if may:
            self.schema += 1
            self.recorded |= {row.key: (row.epoch, row.result) for row in moved}
            me.found = self.journals[pod].load(self.run)
        else:
            me.epoch = 0

    @invariant()
    def what_stands(self) -> None:
        """INV-3, INV-4: epochs of recorded steps never fall; each is what was committed first, or a migration made."""
        rows = sorted(self.journals[0].load(self.run).steps.values(), key=lambda row: row.key.n)
        assert {row.key: (row.epoch, row.result) for row in rows} == self.recorded
        assert [row.key.n for row in rows] == list(range(1, len(rows) + 1))
        assert [row.epoch for row in rows] == sorted(row.epoch for row in rows)


def _count() -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield number


_NUMBERS = _count()


def explore(journals: tuple[Journal, Journal], examples: int) -> None:
    """Look for calls in an order that is answered otherwise than the model says."""
    machine = type("Owners", (Owners,), {"journals": journals})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=30, deadline=None, database=None, derandomize=True,
            phases=(Phase.generate,), suppress_health_check=list(HealthCheck), print_blob=False,
        ),
    )  # fmt: skip


@contextmanager
def two_on_sqlite(rules: Rules = ALL, kind: type[SqliteJournal] = SqliteJournal) -> Iterator[tuple[Journal, Journal]]:
    """Open one file twice."""
    with TemporaryDirectory() as folder:
        opened = [kind(Path(folder) / "journal.db", rules=rules) for _ in range(2)]
        yield opened[0], opened[1]
        for journal in opened:
            journal.close()


@pytest.mark.case("INV-3", "INV-4")
def test_two_owners_on_sqlite() -> None:
    """Whatever the order, a stale owner commits nothing and a recorded step stays."""
    with two_on_sqlite() as journals:
        explore(journals, 40)


@pytest.mark.case("INV-3", "INV-4")
def test_two_owners_on_postgres(fleet: Fleet) -> None:
    """The same on PostgreSQL."""
    explore((fleet.journal(), fleet.journal()), 40)


def test_without_the_fence() -> None:
    """Negative control: without the fence an order is found in which a stale owner commits."""
    with two_on_sqlite(without("fence")) as journals, pytest.raises(AssertionError):
        explore(journals, 200)


class Unfenced(SqliteJournal):
    """Migrates for whoever asks."""

    def migrate(self, owner: Owner, migration: Migration) -> CommitResult:
        """Take the run to another schema as if the caller had it."""
        epoch = max(owner.epoch, *(run.epoch for run in self.find(owner.run)), 0)
        return super().migrate(Owner(owner.run, epoch), migration)


def test_a_migration_without_the_fence() -> None:
    """Negative control: an order is found in which a stale owner migrates."""
    with two_on_sqlite(kind=Unfenced) as journals, pytest.raises(AssertionError, match="committed of schema"):
        explore(journals, 40)


@contextmanager
def taken_over(fleet: Fleet) -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Another transaction takes the run to epoch 5; gives what asks for something meanwhile, and returns its answer."""
    with fleet.server.connect() as admin, fleet.server.connect() as watcher, ThreadPoolExecutor() as threads:
        admin.execute("BEGIN")
        admin.execute(f"UPDATE {fleet.roles.schema}.run SET epoch = 5, boot = 'other' WHERE uid = 'r1'")

        def meanwhile(ask: Callable[[], Any]) -> Any:
            waiting = threads.submit(ask)
            blocked = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            while watcher.execute(blocked).fetchone() is None:
                assert not waiting.done()
            admin.execute("COMMIT")
            return waiting.result(10)

        yield meanwhile


def test_claim_that_waited_for_another(fleet: Fleet) -> None:
    """On PostgreSQL a claim that waited for another's transaction sees what that one wrote, not what was before."""
    first, second = fleet.journal(), fleet.journal()
    first.claim(claim(1))
    with taken_over(fleet) as meanwhile:
        result = meanwhile(lambda: second.claim(claim(6, held=1)))
    assert (result.status, result.continues) == ("claimed", False)
    assert commit(second, Batch(steps=(step(),)), epoch=6).status == "committed"


@pytest.mark.parametrize("runs", [["r1"], ["r1", "r2"]])
@pytest.mark.case("INV-3")
def test_commits_that_waited_for_a_claim(fleet: Fleet, runs: list[str]) -> None:
    """The fence is read when the claim's transaction is over, not when the commit began; who has its run, commits."""
    journal = fleet.journal()
    for run in runs:
        journal.claim(claim(1, run=run))
    asked = [Commit(Owner(run, 1), Batch(steps=(step(),)), 9, NOW) for run in runs]
    with taken_over(fleet) as meanwhile:
        found = meanwhile(lambda: journal.commit_all(asked))
    assert [result.status for result in found] == ["fenced", "committed"][: len(runs)]
    assert [len(journal.load(run).steps) for run in runs] == [0, 1][: len(runs)]


def test_claim_of_a_run_whose_pod_was_stopped_inside_a_transaction(fleet: Fleet) -> None:
    """The database ends a transaction that nobody goes on with; until then the run's row is locked."""
    stopped, other = fleet.journal(answer_seconds=0.3), fleet.journal()
    stopped.claim(claim(1))
    with stopped._connected() as db:
        db.execute("BEGIN")
        db.execute("UPDATE run SET steps = 7")
        assert other.claim(claim(2)).steps == 0
