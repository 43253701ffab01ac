"""What every journal must do with a migration, whatever database it is on; with the ``journal`` fixture."""

from dataclasses import replace
from typing import Any

import pytest

from pinfleet.identity import StepKey
from pinfleet.journal.interface import Batch, Journal, Migration, Owner
from tests.unit.sdk.journal_contract import DONE, call, claim, commit, message, step, wait

PAY, GREET = StepKey("", "pay", 1), StepKey("b", "greet", 1)
RAN = replace(step(name="ctx.migration", scope="%1"), kind="value")


def recorded(journal: Journal) -> None:
    """Record two steps, a call with a wait, a timer and a message, under schema 1."""
    journal.claim(claim(1))
    commit(journal, Batch(steps=(step(), step(name="greet", scope="b", result=b"2")), inbox=(message(),)))
    commit(journal, Batch(calls=(call(),), waits=(wait(), replace(wait(), key=StepKey("", "refund", 1)))))
    commit(journal, Batch(steps=(step(name="refund"),)))


def migration(journal: Journal, **more: Any) -> Migration:
    """Return one that gives pay another result, and drops greet and refund."""
    row = replace(journal.load("r1").steps[PAY], result=b'{"cents":1}')
    made = Migration(
        schema=1, to=2, ran=(RAN,), replaced=(PAY,), dropped=(GREET, StepKey("", "refund", 1)), steps=(row,),
        state=b'{"new":1}',
    )  # fmt: skip
    return replace(made, **more)


class MigrationContract:
    """The contract."""

    def test_what_the_new_code_reads(self, journal: Journal) -> None:
        """After a migration the run has its rows: changed ones by who recorded them, nothing of dropped ones."""
        recorded(journal)
        journal.claim(claim(2, boot="boot-2", version="v2", schema=2))
        made = migration(journal)
        assert journal.migrate(Owner("r1", 2), made).status == "committed"
        found = journal.load("r1")
        assert found.steps == {PAY: made.steps[0]}
        assert found.steps[PAY].version == "v1"
        assert (set(found.calls), set(found.waits)) == (set(), {StepKey("", "ctx.sleep", 1)})
        assert (found.state, found.schema, found.segment) == (b'{"new":1}', 2, 1)
        assert [row.id for row in found.inbox.values()] == ["m1"]

    @pytest.mark.case("INV-2")
    def test_the_old_rows_are_kept(self, journal: Journal) -> None:
        """What a migration replaced or dropped is put aside, under the schema that it was of, with what ran."""
        recorded(journal)
        journal.claim(claim(2, boot="boot-2", version="v2", schema=2))
        journal.migrate(Owner("r1", 2), migration(journal))
        whole = {row.key: row for row in journal.load_whole("r1").steps}
        assert whole[StepKey("%1", "pay", 1)].result == b"1"
        assert whole[StepKey("%1/b", "greet", 1)].result == b"2"
        assert (whole[RAN.key].version, whole[RAN.key].epoch) == ("v2", 2)
        assert {row.key for row in journal.load_whole("r1").calls} == {StepKey("%1", "refund", 1)}

    def test_it_runs_once(self, journal: Journal) -> None:
        """A migration whose answer was lost is found done; another one of the same schema is refused."""
        recorded(journal)
        journal.claim(claim(2, boot="boot-2"))
        made = migration(journal)
        journal.migrate(Owner("r1", 2), made)
        assert journal.migrate(Owner("r1", 2), made).status == "committed"
        journal.claim(claim(3, boot="boot-3"))
        assert journal.migrate(Owner("r1", 3), made).status == "taken"
        assert len(journal.load_whole("r1").steps) == 5

    def test_a_stale_owner_migrates_nothing(self, journal: Journal) -> None:
        """INV-3: who lost the run, or whose run has ended, changes none of its rows."""
        recorded(journal)
        before = journal.load("r1")
        made = migration(journal)
        journal.claim(claim(2, boot="boot-2"))
        assert journal.migrate(Owner("r1", 1), made).status == "fenced"
        assert journal.load("r1") == before
        commit(journal, Batch(end=DONE), epoch=2)
        assert journal.migrate(Owner("r1", 2), made).status == "fenced"

    def test_a_claim_changes_no_schema(self, journal: Journal) -> None:
        """A pod of another schema that takes a run leaves it the schema that its rows have."""
        journal.claim(claim(1))
        journal.claim(claim(2, boot="boot-2", schema=7))
        assert journal.load("r1").schema == 1
        assert journal.find("r1")[0].schema == 1

    def test_it_is_whole_or_nothing(self, journal: Journal) -> None:
        """A migration that the database refuses in its midst leaves every row as it was."""
        recorded(journal)
        before = journal.load("r1"), journal.load_whole("r1")
        twice = (migration(journal).steps[0],) * 2
        try:
            journal.migrate(Owner("r1", 1), migration(journal, steps=twice))
        except Exception:  # noqa: BLE001 - each database has its own
            assert (journal.load("r1"), journal.load_whole("r1")) == before
        else:
            raise AssertionError("two rows of one identity were taken")

    def test_large_results_move(self, journal: Journal) -> None:
        """A result in the blob table is put aside and replaced as others are."""
        journal.claim(claim(1))
        big, other = b'"' + b"a" * 40_000 + b'"', b'"' + b"b" * 40_000 + b'"'
        commit(journal, Batch(steps=(step(result=big),)))
        row = replace(journal.load("r1").steps[PAY], result=other)
        made = Migration(schema=1, to=2, ran=(RAN,), replaced=(PAY,), steps=(row,))
        assert journal.migrate(Owner("r1", 1), made).status == "committed"
        whole = {each.key: each.result for each in journal.load_whole("r1").steps}
        assert (whole[PAY], whole[StepKey("%1", "pay", 1)]) == (other, big)
