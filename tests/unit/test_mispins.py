"""The checker of the bench `mispins`: by resourceVersions, a run is on the version of its creation or a later one."""

import pytest

from bench.mispins import Made, Promote, mispins

PROMOTES = [Promote(10, 1), Promote(20, 2), Promote(30, 3)]


@pytest.mark.parametrize(
    ("rv", "version"),
    [(5, 1), (15, 1), (15, 2), (15, 3), (25, 2), (25, 3), (31, 3)],
    ids=["before any", "on its own", "waited for one switch", "waited for two", "after one", "and waited", "newest"],
)
def test_a_run_may_have_the_version_of_its_creation_or_a_later_one(rv: int, version: int) -> None:
    """A run that waits for a pod while its fleet is switched is pinned when it gets one."""
    assert mispins(PROMOTES, [Made("run", rv, version)]) == []


@pytest.mark.parametrize(("rv", "version"), [(21, 1), (31, 2), (31, 1), (31, 0)])
def test_a_planted_mispin_is_found(rv: int, version: int) -> None:
    """Negative control: a run that was created after a promotion, on a version before it, or on none."""
    assert len(mispins(PROMOTES, [Made("good", 21, 2), Made("planted", rv, version)])) == 1
