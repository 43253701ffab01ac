"""What random seeds find without each rule, as ``python -m tests.sim.controls`` printed it; docs/rules.md shows it."""

from typing import Final

FOUND: Final[tuple[tuple[str, str, int | None, str], ...]] = (
    # rule, what is out, first seed (None: none of those tried), the invariant that it breaks
    ("1", "rule 1", 8, "ends"),
    ("2", "rule 2, pods without terminal-answer", 17, "INV-4"),
    ("2", "pods without commit-before-report", 0, "INV-16"),
    ("3", "rule 3", 99, "INV-5"),
    ("4", "rule 4", 2, "INV-12"),
    ("5", "rule 5, pods without boot", 19, "INV-20"),
    ("6", "rule 6", 8, "charge"),
    ("7", "rule 7", 283, "INV-6"),
    ("8", "rule 8, pods without leader", 179, "leave"),
    ("9", "rule 9", 3, "ends"),
    ("10", "rule 10", 1, "INV-16"),
    ("10", "pods without cancel-grace", 20, "cancel"),
    ("11", "rule 11", 9, "left over"),
    ("12", "rule 12, pods without pod-uid", 19, "leave"),
    ("13", "rule 13, pods without journal-epoch", 55, "INV-8"),
    ("14", "rule 14", 2, "blame"),
    ("15", "rule 15, pods without timers-fired", 6, "timer"),
    ("16", "rule 16, the API server's preconditions", 13, "INV-3"),
    ("17", "rule 17", 2, "blame"),
)
