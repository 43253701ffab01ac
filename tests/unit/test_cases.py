"""The table of cases: what it shows, and what it refuses."""

from pathlib import Path

import pytest

from hack import cases
from hack.cases import Mark
from tests.cases.rows import ROWS, Row

SERVED = Row("Runs", "runs: a poll is cut", "Nothing starts twice.")
REAL = Row("Runs", "runs: a cancel", "It ends.", is_real=True)
LATER = Row("Runs", "runs: an approval", "It counts once.", needs="AgentApproval")
UNIT, ON_A_SERVER = "tests/unit/test_a.py", "tests/integration/test_b.py"


def test_every_served_case_has_a_test() -> None:
    """Each row is owned by a test or says what it needs, and each mark names a row."""
    assert cases.troubles() == []


def test_the_page_is_what_rows_and_marks_say() -> None:
    """The committed page is the generated one; `make generate` mends it."""
    assert (cases.ROOT / cases.FILE).read_text() == cases.table(ROWS, cases.marks(cases.ROOT))


@pytest.mark.parametrize(
    ("row", "mark", "words"),
    [
        (SERVED, None, "is served and no test owns it"),
        (LATER, Mark(LATER.id, UNIT, "test_x"), "remove `needs`"),
        (REAL, Mark(REAL.id, UNIT, "test_x"), "needs a test in tests/integration/"),
        (LATER, Mark("runs: misspelt", UNIT, "test_x"), "which is no row"),
    ],
    ids=["untested", "tested-after-all", "not-on-a-server", "misspelt"],
)
def test_a_mistake_is_said(row: Row, mark: Mark | None, words: str) -> None:
    """A row or a mark that is not in order is named, with what to do."""
    (said,) = cases.mistakes((row,), [mark] if mark else [])
    assert words in said


def test_rows_in_order_are_no_mistake() -> None:
    """A served row with its test, on a server where it must be, and one that waits."""
    marks = [Mark(SERVED.id, UNIT, "test_x"), Mark(REAL.id, ON_A_SERVER, "test_y")]
    assert cases.mistakes((SERVED, REAL, LATER), marks) == []


def test_two_rows_of_one_id_are_a_mistake() -> None:
    """An id names one case."""
    assert "two rows have one id" in cases.mistakes((SERVED, SERVED), [Mark(SERVED.id, UNIT, "test_x")])[0]


def test_marks_are_read_from_the_source(tmp_path: Path) -> None:
    """On functions, in classes, in parameters, several at once; nothing else is taken for one."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text(
        '@pytest.mark.case("one", "two")\ndef test_x(): ...\n'
        'class TestThing:\n    @pytest.mark.case("three")\n    async def test_y(self): ...\n'
        '@pytest.mark.parametrize("n", [pytest.param(1, marks=pytest.mark.case("four"))])\ndef test_z(n): ...\n'
        '@pytest.mark.case("five")\ndef helper(): ...\n'
    )
    found = [(mark.case, mark.test) for mark in cases.marks(tmp_path)]
    assert found == [("one", "test_x"), ("two", "test_x"), ("three", "TestThing.test_y"), ("four", "test_z")]


def test_a_row_is_shown_with_its_tests_or_its_needs() -> None:
    """The page says for each case what happens and who shows it."""
    page = cases.table((SERVED, LATER), [Mark(SERVED.id, UNIT, "test_x")])
    assert "| a poll is cut | Nothing starts twice. | `unit/test_a.py::test_x` |" in page
    assert "| an approval | It counts once. | needs AgentApproval |" in page
    assert "1 cases are served and owned by tests; 1 wait for what they need." in page
