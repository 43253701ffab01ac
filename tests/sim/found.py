"""What random seeds find without each rule, as ``python -m tests.sim.controls`` printed it; docs/rules.md shows it."""

from typing import Final

FOUND: Final[tuple[tuple[str, str, int | None, str], ...]] = (
    # rule, what is out, first seed (None: none of those tried), the invariant that it breaks
    ("1", "rule 1", 1, "ends"),
    ("2", "rule 2, pods without terminal-answer", 26, "INV-16"),
    ("2", "pods without commit-before-report", 0, "INV-16"),
    ("3", "rule 3", None, "not tried yet"),
    ("4", "rule 4", None, "not tried yet"),
    ("5", "rule 5, pods without boot", None, "not tried yet"),
    ("6", "rule 6", None, "not tried yet"),
    ("7", "rule 7", None, "not tried yet"),
    ("8", "rule 8, pods without leader", None, "not tried yet"),
    ("9", "rule 9", None, "not tried yet"),
    ("10", "rule 10", 43, "INV-16"),
    ("10", "pods without cancel-grace", None, "not tried yet"),
    ("11", "rule 11", None, "not tried yet"),
    ("12", "rule 12, pods without pod-uid", None, "not tried yet"),
    ("13", "rule 13, pods without journal-epoch", 73, "INV-8"),
    ("14", "rule 14", None, "not tried yet"),
    ("15", "rule 15, pods without timers-fired", None, "not tried yet"),
    ("16", "rule 16, the API server's preconditions", None, "not tried yet"),
    ("17", "rule 17", None, "not tried yet"),
)
