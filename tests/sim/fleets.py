"""Checkers of versions and children that a simulation shares with recordings of a real cluster."""

from collections.abc import Iterator

from tests.integration import checkers
from tests.sim.history import History


def no_orphan_is_left(history: History) -> Iterator[str]:
    """INV-9."""
    yield from checkers.no_orphan_is_left(history)


def one_version_is_active(history: History) -> Iterator[str]:
    """INV-10."""
    yield from checkers.one_version_is_active(history)


def versions_follow_their_edges(history: History) -> Iterator[str]:
    """INV-13, of fleets and their versions."""
    yield from checkers.fleets_follow_their_edges(history)
