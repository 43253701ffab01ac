"""What every journal must do, whatever database it is on: a test class to inherit from, with a ``journal`` fixture."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pinfleet.identity import StepKey
from pinfleet.journal.interface import (
    Batch,
    CallRow,
    Claim,
    Commit,
    CommitResult,
    DecisionRow,
    End,
    InboxRow,
    Journal,
    Owner,
    RunRow,
    StepRow,
    WaitRow,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DONE = End("succeeded", b'{"result":1}')


def later(minutes: float) -> datetime:
    """Return a time after NOW."""
    return NOW + timedelta(minutes=minutes)


def claim(
    epoch: int = 1,
    *,
    boot: str = "boot-1",
    run: str = "r1",
    held: int | None = None,
    version: str = "v1",
    schema: int = 1,
) -> Claim:
    """Return a claim by pod-1."""
    return Claim(
        run=run, name="run", epoch=epoch, boot=boot, pod="pod-1", version=version, schema=schema, now=NOW, held=held
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


def call(n: int = 1, *, attempt: int = 1, key: str = "key-1", sent: datetime | None = NOW) -> CallRow:
    """Return the intent of a tool's call."""
    return CallRow(
        key=StepKey("", "refund", n), idempotency_key=key, policy="resend", attempt=attempt, arguments=b'{"cents":5}',
        begun=NOW, first_sent=sent, sent=sent,
    )  # fmt: skip


def message(number: int = 1, *, taken_by: StepKey | None = None) -> InboxRow:
    """Return a message."""
    return InboxRow(id=f"m{number}", number=number, body=b'"hello"', received=NOW, taken_by=taken_by)


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

    def test_approvals(self, journal: Journal) -> None:
        """A wait keeps what was asked, by its hash, and what a person was shown."""
        journal.claim(claim(1))
        asked = replace(wait(), kind="Approval", until=None, request_hash="abc", shown=b'{"cents":"50.00"}')
        commit(journal, Batch(waits=(asked,)))
        assert journal.load("r1").waits == {asked.key: asked}

    def test_calls(self, journal: Journal) -> None:
        """An intent is read back with who made it; it counts toward nothing, its result is a step."""
        journal.claim(claim(3))
        assert commit(journal, Batch(calls=(call(),)), epoch=3, max_steps=0).steps == 0
        assert journal.load("r1").calls == {call().key: replace(call(), epoch=3, version="v1", pod="pod-1")}

    def test_stale_intent(self, journal: Journal) -> None:
        """A fenced owner leaves no intent, so it must not send."""
        journal.claim(claim(1))
        journal.claim(claim(2, boot="boot-2"))
        assert commit(journal, Batch(calls=(call(),)), epoch=1).status == "fenced"
        assert not journal.load("r1").calls

    def test_key_is_minted_once(self, journal: Journal) -> None:
        """A later attempt, by another owner, has the first one's key and first sending, whatever it says."""
        journal.claim(claim(1))
        commit(journal, Batch(calls=(call(),)))
        journal.claim(claim(2, boot="boot-2"))
        later = NOW + timedelta(hours=1)
        commit(journal, Batch(calls=(call(attempt=2, key="key-2", sent=later),)), epoch=2)
        found = journal.load("r1").calls[call().key]
        assert (found.attempt, found.idempotency_key) == (2, "key-1")
        assert (found.first_sent, found.sent) == (NOW, later)

    def test_sending_is_recorded_once(self, journal: Journal) -> None:
        """An intent that waits before it is sent is given its sending, which stays."""
        journal.claim(claim(1))
        commit(journal, Batch(calls=(call(sent=None),)))
        assert journal.load("r1").calls[call().key].first_sent is None
        for sent in (NOW, NOW + timedelta(hours=1)):
            commit(journal, Batch(calls=(call(key="other", sent=sent),)))
        found = journal.load("r1").calls[call().key]
        assert (found.idempotency_key, found.first_sent, found.sent) == ("key-1", NOW, NOW)

    def test_unknown_outcome(self, journal: Journal) -> None:
        """A tool's outcome may be recorded as unknown; like any result it stays."""
        journal.claim(claim(1))
        row = replace(step(), kind="tool", status="unknown")
        assert commit(journal, Batch(steps=(row,))).steps == 1
        assert journal.load("r1").steps[row.key].status == "unknown"

    def test_messages(self, journal: Journal) -> None:
        """A message is received once by its id, in its order, and taken once."""
        journal.claim(claim(1))
        commit(journal, Batch(inbox=(message(2), message(1))))
        commit(journal, Batch(inbox=(replace(message(1), body=b'"other"'),)))
        assert list(journal.load("r1").inbox.values()) == [message(1), message(2)]
        taker, other = StepKey("", "ctx.receive", 1), StepKey("", "ctx.receive", 2)
        for key in (taker, other):
            commit(journal, Batch(inbox=(message(1, taken_by=key),)))
        assert list(journal.load("r1").inbox.values()) == [message(1, taken_by=taker), message(2)]

    def test_decisions(self, journal: Journal) -> None:
        """The first decision about a request stands."""
        journal.claim(claim(1))
        first = DecisionRow(
            request_hash="abc", decision="Approve", by="ann", via="bridge", comment="fine, é", at=NOW
        )  # fmt: skip
        commit(journal, Batch(decisions=(first,)))
        commit(journal, Batch(decisions=(replace(first, decision="Deny", by="bob"),)))
        assert journal.load("r1").decisions == {"abc": first}

    def test_tokens(self, journal: Journal) -> None:
        """Tokens are counted with their steps, over all epochs, and once when the batch comes again."""
        journal.claim(claim(1))
        for _ in range(2):
            assert commit(journal, Batch(steps=(step(),), tokens=70)).tokens == 70
        assert journal.claim(claim(2, boot="boot-2")).tokens == 70
        with pytest.raises(ValueError, match="no"):
            Batch(tokens=1)

    def test_partial(self, journal: Journal) -> None:
        """The newest partial result is given back by a claim, and by the limit that it is for."""
        journal.claim(claim(1))
        assert journal.claim(claim(1)).partial is None
        for partial in (b'"half"', b'"most"'):
            commit(journal, Batch(partial=partial))
        assert journal.claim(claim(2)).partial == b'"most"'
        assert journal.claim(claim(2)).partial == b'"most"'
        result = commit(journal, Batch(steps=(step(),), partial=b'"all"'), epoch=2, max_steps=0)
        assert (result.status, result.partial) == ("limit", b'"most"')

    def test_restart(self, journal: Journal) -> None:
        """A restart begins a segment that has only its state and what nobody took; counts go on."""
        journal.claim(claim(1))
        taken = message(1, taken_by=StepKey("", "ctx.receive", 1))
        commit(journal, Batch(steps=(step(1),), calls=(call(),), waits=(wait(),), inbox=(taken, message(2))))
        commit(journal, Batch(steps=(step(2),), restart=b'{"turn":2}'))
        history = journal.load("r1")
        assert (history.steps, history.calls, history.waits) == ({}, {}, {})
        assert (list(history.inbox), history.segment, history.state) == (["m2"], 2, b'{"turn":2}')
        assert commit(journal, Batch(steps=(step(3),))).steps == 3
        assert set(journal.load("r1").steps) == {step(3).key}

    def test_restart_without_an_answer(self, journal: Journal) -> None:
        """A restart that comes again leads to the same history."""
        journal.claim(claim(1))
        for _ in range(2):
            assert commit(journal, Batch(steps=(step(),), restart=b"{}")).status == "committed"
        history = journal.load("r1")
        assert (history.steps, history.segment, history.state) == ({}, 2, b"{}")

    def test_batch_of_everything_is_whole(self, journal: Journal) -> None:
        """A batch whose step cannot be committed leaves none of its other rows either."""
        journal.claim(claim(1))
        commit(journal, Batch(steps=(step(),)))
        decision = DecisionRow(request_hash="abc", decision="Approve", by="ann", at=NOW)
        batch = Batch(
            steps=(step(attempt=5),), calls=(call(),), inbox=(message(),), decisions=(decision,), tokens=7,
            partial=b"1", restart=b"1",
        )  # fmt: skip
        assert commit(journal, batch).status == "taken"
        history = journal.load("r1")
        assert (history.calls, history.inbox, history.decisions, history.segment) == ({}, {}, {}, 1)
        result = journal.claim(claim(2))
        assert (result.tokens, result.partial) == (0, None)

    def test_group(self, journal: Journal) -> None:
        """Batches that are committed together stand together, also two of one run; those that are refused drop out."""
        for run in ("r1", "r2", "r3", "r4"):
            journal.claim(claim(1, run=run))
        commit(journal, Batch(steps=(step(result=b"9"),)), run="r3")
        journal.claim(claim(2, boot="boot-2", run="r2"))
        asked = [
            Commit(Owner("r1", 1), Batch(steps=(step(1),)), 9, NOW),
            Commit(Owner("r2", 1), Batch(steps=(step(1),), partial=b"1"), 9, NOW),  # fenced
            Commit(Owner("r3", 1), Batch(steps=(step(attempt=7),)), 9, NOW),  # taken
            Commit(Owner("r1", 1), Batch(steps=(step(2),), end=DONE), 9, NOW),
            Commit(Owner("r4", 1), Batch(steps=(step(1),)), 0, NOW),  # limit
        ]
        found = [result.status for result in journal.commit_all(asked)]
        assert found == ["committed", "fenced", "taken", "committed", "limit"]
        recorded = {run: len(journal.load(run).steps) for run in ("r1", "r2", "r3", "r4")}
        assert recorded == {"r1": 2, "r2": 0, "r3": 1, "r4": 0}
        assert journal.load("r3").steps[step().key].result == b"9"

    def test_group_without_refusals(self, journal: Journal) -> None:
        """A group of good batches is committed, and again where its COMMIT had no answer."""
        for run in ("r1", "r2"):
            journal.claim(claim(1, run=run))
        asked = [Commit(Owner(run, 1), Batch(steps=(step(),)), 9, NOW) for run in ("r1", "r2")]
        for _ in range(2):
            assert [(r.status, r.steps) for r in journal.commit_all(asked)] == [("committed", 1)] * 2

    def test_taken_up_after_close(self, journal: Journal) -> None:
        """A journal that was let go is taken up by the next call."""
        journal.claim(claim(1))
        journal.close()
        assert commit(journal, Batch(steps=(step(),))).steps == 1

    def test_row_twice_in_a_batch(self, journal: Journal) -> None:
        """A wait that begins and ends in one batch is one row with its answer; so are calls and messages."""
        journal.claim(claim(1))
        answered = replace(wait(), answer=b"1", answered=NOW)
        taken = message(1, taken_by=wait().key)
        rows = Batch(calls=(call(sent=None), call()), waits=(wait(), answered), inbox=(message(1), taken))
        commit(journal, rows)
        history = journal.load("r1")
        assert history.waits == {wait().key: answered}
        assert (history.inbox, history.calls[call().key].sent) == ({"m1": taken}, NOW)

    def test_find(self, journal: Journal) -> None:
        """Runs are found by uid or name, the newest first; the open ones without words."""
        for number, run in enumerate(("r1", "r2", "r3")):
            journal.claim(replace(claim(1, run=run), name="support" if run != "r3" else "other", now=later(number)))
        commit(journal, Batch(end=DONE, steps=(step(),), partial=b"2"), run="r2")
        assert [run.uid for run in journal.find("support")] == ["r2", "r1"]
        assert [run.uid for run in journal.find("")] == ["r3", "r1"]
        assert journal.find("unknown") == ()
        assert journal.find("r2") == (
            RunRow(
                uid="r2", name="support", version="v1", epoch=1, pod="pod-1", schema=1, segment=1, state="succeeded",
                steps=1, tokens=0, created=later(1), claimed=later(1), ended=NOW, outcome=DONE.outcome,
            ),
        )  # fmt: skip

    def test_load_whole(self, journal: Journal) -> None:
        """All segments and every attempt are there for people."""
        journal.claim(claim(1))
        commit(journal, Batch(steps=(step(1),), calls=(call(),), inbox=(message(),), restart=b"{}"))
        commit(journal, Batch(steps=(step(2),), calls=(call(attempt=2, key="key-2"),), waits=(wait(),)))
        whole = journal.load_whole("r1")
        assert [(row.key.n, row.segment) for row in whole.steps] == [(1, 1), (2, 2)]
        assert [(row.attempt, row.idempotency_key) for row in whole.calls] == [(1, "key-1"), (2, "key-1")]
        assert (len(whole.waits), len(whole.inbox), whole.decisions) == (1, 1, ())

    def everything(self, journal: Journal, run: str, ended: datetime | None) -> None:
        """Give a run a row in every table, and an end."""
        journal.claim(replace(claim(1, run=run), name="ann's"))
        decision = DecisionRow(request_hash="abc", decision="Approve", by="ann", at=NOW)
        large = step(result=b'"' + b"x" * 100_000 + b'"')
        rows = Batch(
            steps=(large,), calls=(call(),), waits=(wait(),), inbox=(message(),), decisions=(decision,), partial=b"1",
            end=DONE if ended else None,
        )  # fmt: skip
        journal.commit(Owner(run, 1), rows, max_steps=9, now=ended or NOW)

    def test_prune(self, journal: Journal) -> None:
        """What runs did goes with their retention, in small batches; that they ended stays, open runs stay whole."""
        for number in range(3):
            self.everything(journal, f"r{number}", later(number))
        self.everything(journal, "young", later(60))
        self.everything(journal, "open", None)
        assert [journal.prune(later(50), 2) for _ in range(3)] == [2, 1, 0]
        for run, rows in (("r0", 0), ("r1", 0), ("r2", 0), ("young", 1), ("open", 1)):
            whole = journal.load_whole(run)
            found = {len(whole.steps), len(whole.calls), len(whole.waits), len(whole.inbox), len(whole.decisions)}
            assert found == {rows}, run
        assert journal.claim(claim(2, run="r0")).status == "ended"
        assert journal.claim(claim(2, run="open")).partial == b"1"

    def test_prune_forgets_at_last(self, journal: Journal) -> None:
        """Long after what it did, a run's own row goes too."""
        self.everything(journal, "r1", NOW)
        journal.prune(later(1), 9)
        journal.prune(later(2), 9)
        assert len(journal.find("r1")) == 1
        journal.prune(later(24 * 60 * 31), 9)
        assert journal.find("r1") == ()

    def test_erase(self, journal: Journal) -> None:
        """Nothing of an ended run is left but that it ended; an open or unknown one is not erased."""
        self.everything(journal, "r1", NOW)
        self.everything(journal, "r2", None)
        assert [journal.erase(run) for run in ("r1", "r2", "r3")] == [True, False, False]
        (found,) = journal.find("r1")
        assert (found.name, found.state, found.outcome) == ("", "succeeded", b"{}")
        assert journal.load_whole("r1").steps == ()
        assert journal.claim(claim(2, run="r1")).status == "ended"
        assert len(journal.load("r2").steps) == 1

    def test_check(self, journal: Journal) -> None:
        """A database that answers is fine."""
        journal.check()
