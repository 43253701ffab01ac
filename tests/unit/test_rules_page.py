"""docs/rules.md: every rule has its test, its control, and a line of what random seeds find without it."""

from hack import rules
from pinfleet_operator.api.settings import RULES
from tests.sim.controls import CONTROLS
from tests.sim.found import FOUND


def test_every_rule_has_a_test_and_a_control() -> None:
    """The page names a test that shows each rule's race and one that takes the rule out."""
    assert rules.troubles() == []


def test_the_page_tells_of_every_rule() -> None:
    """A rule with a switch has a row, and each way of taking rules out that is tried by seeds has a line."""
    assert {str(number) for number in rules.RACES} >= set(RULES)
    assert [(control.rule, control.name) for control in CONTROLS] == [(rule, what) for rule, what, _, _ in FOUND]
