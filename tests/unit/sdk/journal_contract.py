"""What every journal must do, whatever database it is on: a test class to inherit from, with a ``journal`` fixture."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pinfleet.identity import StepKey
from pinfleet.journal.interface import Batch, Claim, CommitResult, End, Journal, Owner, StepRow, WaitRow

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DONE = End("succeeded", b'{"result":1}')


def claim(epoch: int = 1, *, boot: str = "boot-1", run: str = "r1", held: int | None = None) -> Claim:
    """Return a claim by pod-1."""
    return Claim(
        run=run, name="run", epoch=epoch, boot=boot, pod="pod-1", version="v1", schema=1, now=NOW, held=held
    )  # fmt: skip


def step(n: int = 1, *, name: str = "pay", scope: str = "", attempt: int = 1, result: bytes = b"1") -> StepRow:
    """Return a step's row."""
    return StepRow(
        key=StepKey(scope, name, n), kind="step", status="ok", arguments=b"{}", result=result, manifest="m",
        attempt=attempt, begun=NOW, committed=NOW,
    )  # fmt: skip


def wait(n: int = 1, *, answer: bytes | None = None) -> WaitRow:
    """Return a timer's row."""
    return WaitRow(key=StepKey("", "ctx.sleep", n), kind="Timer", since=NOW, until=NOW, answer=answer)


def commit(journal: Journal, batch: Batch, *, epoch: int = 1, max_steps: int = 100, run: str = "r1") -> CommitResult:
    """Commit a batch of run r1."""
    return journal.commit(Owner(run, epoch), batch, max_steps=max_steps, now=NOW)


class JournalContract:
    """The contract."""

    def test_first_claim(self, journal: Journal) -> None:
        """The first claim of a run makes its row."""
        result = journal.claim(claim())
        assert (result.status, result.epoch, result.steps) == ("claimed", 1, 0)

    def test_higher_epoch_wins(self, journal: Journal) -> None:
        """A claim with a higher epoch takes the run, whoever has it."""
        journal.claim(claim(1))
        assert journal.claim(claim(5, boot="boot-2")).status == "claimed"

    @pytest.mark.parametrize("epoch", [1, 2])
    def test_lower_or_equal_epoch_of_another_is_fenced(self, journal: Journal, epoch: int) -> None:
        """A claim that is not above the journal's epoch is refused, and hears that epoch."""
        journal.claim(claim(2))
        result = journal.claim(claim(epoch, boot="boot-2"))
        assert (result.status, result.epoch) == ("fenced", 2)

    def test_own_claim_again(self, journal: Journal) -> None:
        """Rule 5: 0 rows and (epoch, boot) mine is success: the answer to the first try was lost."""
        journal.claim(claim(2))
        assert journal.claim(claim(2)).status == "claimed"

    def test_continues_only_from_the_held_epoch(self, journal: Journal) -> None:
        """Live code goes on under a new epoch only if nobody had the run in between."""
        journal.claim(claim(1))
        assert journal.claim(claim(2, held=1)).continues
        journal.claim(claim(3, boot="boot-2"))
        assert not journal.claim(claim(4, held=2)).continues

    def test_parked_code_does_not_continue(self, journal: Journal) -> None:
        """Code that parked is gone; a claim right after it starts anew."""
        journal.claim(claim(1))
        commit(journal, Batch(parks=True))
        assert not journal.claim(claim(2, held=1)).continues

    def test_same_epoch_after_its_park(self, journal: Journal) -> None:
        """An epoch that has parked is not executed again."""
        journal.claim(claim(1))
        commit(journal, Batch(parks=True))
        assert journal.claim(claim(1)).status == "parked"

    def test_claim_of_an_ended_run(self, journal: Journal) -> None:
        """Rule 2: a claim of an ended run gives its end and writes nothing."""
        journal.claim(claim(1))
        commit(journal, Batch(end=DONE))
        result = journal.claim(claim(9, boot="boot-2"))
        assert (result.status, result.end, result.epoch) == ("ended", DONE, 1)

    def test_commit_and_load(self, journal: Journal) -> None:
        """What was committed is read back, with who committed it."""
        journal.claim(claim(3))
        row = step(result=b'"\xc3\xa9"')
        assert commit(journal, Batch(steps=(row,)), epoch=3).steps == 1
        loaded = journal.load("r1").steps
        assert loaded == {row.key: replace(row, epoch=3, version="v1", pod="pod-1")}

    def test_stale_epoch_commits_nothing(self, journal: Journal) -> None:
        """INV-3: nothing commits with an older epoch after a newer one was claimed."""
        journal.claim(claim(1))
        journal.claim(claim(2, boot="boot-2"))
        result = commit(journal, Batch(steps=(step(),), end=DONE), epoch=1)
        assert (result.status, result.epoch) == ("fenced", 2)
        assert not journal.load("r1").steps
        assert journal.claim(claim(3)).status == "claimed"

    def test_unknown_run_is_fenced(self, journal: Journal) -> None:
        """Nobody commits for a run that nobody claimed."""
        assert commit(journal, Batch(steps=(step(),))).status == "fenced"

    @pytest.mark.parametrize("last", [Batch(end=DONE), Batch(parks=True)])
    def test_nothing_after_the_end_or_the_park(self, journal: Journal, last: Batch) -> None:
        """INV-16: no commit succeeds once the run is over, even at its own epoch."""
        journal.claim(claim(1))
        commit(journal, last)
        assert commit(journal, Batch(steps=(step(),))).status == "fenced"
        assert not journal.load("r1").steps

    def test_step_commits_once(self, journal: Journal) -> None:
        """INV-4: an identity commits once, and its result never changes."""
        journal.claim(claim(1))
        commit(journal, Batch(steps=(step(result=b"1"),)))
        journal.claim(claim(2, boot="boot-2"))
        result = commit(journal, Batch(steps=(step(result=b"2", attempt=7),)), epoch=2)
        assert (result.status, result.steps) == ("taken", 1)
        assert [row.result for row in journal.load("r1").steps.values()] == [b"1"]

    def test_same_commit_again(self, journal: Journal) -> None:
        """A COMMIT without an answer is made again: known by (identity, epoch, attempt), counted once."""
        journal.claim(claim(1))
        commit(journal, Batch(steps=(step(),)))
        again = commit(journal, Batch(steps=(step(),)))
        assert (again.status, again.steps) == ("committed", 1)

    @pytest.mark.parametrize("last", [Batch(end=DONE), Batch(parks=True), Batch(steps=(step(),), end=DONE)])
    def test_same_end_again(self, journal: Journal, last: Batch) -> None:
        """An end or a park whose COMMIT had no answer is made again."""
        journal.claim(claim(1))
        commit(journal, last)
        assert commit(journal, last).status == "committed"

    def test_the_first_end_stays(self, journal: Journal) -> None:
        """An end never changes; who comes second hears the first."""
        journal.claim(claim(1))
        commit(journal, Batch(end=DONE))
        result = commit(journal, Batch(end=End("cancelled", b"{}")))
        assert (result.status, result.end) == ("fenced", DONE)

    def test_steps_are_bounded(self, journal: Journal) -> None:
        """MaxSteps counts over all epochs, in the fence itself; a resume does not reset it."""
        journal.claim(claim(1))
        commit(journal, Batch(steps=(step(1),)), max_steps=2)
        journal.claim(claim(2))
        assert commit(journal, Batch(steps=(step(2),)), epoch=2, max_steps=2).status == "committed"
        result = commit(journal, Batch(steps=(step(3),)), epoch=2, max_steps=2)
        assert (result.status, result.steps) == ("limit", 2)
        assert len(journal.load("r1").steps) == 2

    def test_values_and_waits_do_not_count(self, journal: Journal) -> None:
        """The clock, random numbers and waits are recorded outside maxSteps."""
        journal.claim(claim(1))
        value = replace(step(), kind="value")
        assert commit(journal, Batch(steps=(value,), waits=(wait(),)), max_steps=0).steps == 0

    def test_waits(self, journal: Journal) -> None:
        """A wait is recorded when it begins, takes one answer, and keeps it."""
        journal.claim(claim(1))
        commit(journal, Batch(waits=(wait(),)))
        assert journal.load("r1").waits == {wait().key: wait()}
        answered = replace(wait(), answer=b'"fired"', answered=NOW)
        commit(journal, Batch(waits=(answered,)))
        commit(journal, Batch(waits=(replace(answered, answer=b'"other"'),)))
        assert journal.load("r1").waits == {answered.key: answered}

    def test_batch_is_whole(self, journal: Journal) -> None:
        """A batch with one row that cannot be committed commits none."""
        journal.claim(claim(1))
        commit(journal, Batch(steps=(step(2),)))
        batch = Batch(steps=(step(1, attempt=5), step(2, attempt=5)), waits=(wait(),), end=DONE)
        assert commit(journal, batch).status == "taken"
        history = journal.load("r1")
        assert (len(history.steps), history.waits) == (1, {})
        assert journal.claim(claim(2)).status == "claimed"

    def test_large_values(self, journal: Journal) -> None:
        """A large result comes back like a small one."""
        journal.claim(claim(1))
        large = b'"' + b"x" * 1_000_000 + b'"'
        commit(journal, Batch(steps=(step(result=large),)))
        assert journal.load("r1").steps[step().key].result == large

    def test_runs_are_apart(self, journal: Journal) -> None:
        """Runs share nothing."""
        journal.claim(claim(1))
        journal.claim(claim(7, run="r2"))
        commit(journal, Batch(steps=(step(),)))
        assert not journal.load("r2").steps
        assert commit(journal, Batch(steps=(step(),)), run="r2", epoch=7).steps == 1

    def test_odd_text(self, journal: Journal) -> None:
        """Names are data, never SQL."""
        uid = "r'; DROP TABLE run; --"
        journal.claim(claim(1, run=uid))
        row = step(name="n'\"; é😀", scope="a/b%2F'")
        commit(journal, Batch(steps=(row,)), run=uid)
        assert set(journal.load(uid).steps) == {row.key}

    def test_check(self, journal: Journal) -> None:
        """A database that answers is fine."""
        journal.check()
