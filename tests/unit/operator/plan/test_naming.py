"""Names of versions, pods and Secrets."""

import pytest

from pinfleet_operator.plan import naming
from tests.unit.operator.plan.worlds import a_record


@pytest.mark.parametrize(
    ("fleet", "version", "expected"),
    [
        ("support", "v1", "support-v1-0"),
        ("support-eu", "v1", "support-eu-v1-ca3b1-0"),
        ("a" * 63, "v1", f"{'a' * 55}-9007a-0"),
        ("a" * 63, "b" * 63, f"{'a' * 55}-4a6b4-0"),
    ],
)
def test_a_pod_is_named_by_its_version(fleet: str, version: str, expected: str) -> None:
    """A pod's name says fleet and version, and fits into 63 characters."""
    assert naming.pod_name_of(fleet, version, 0) == expected


def test_two_fleets_never_share_a_pod_name() -> None:
    """Fleet a-b with version c and fleet a with version b-c have different pods."""
    assert naming.pod_name_of("a-b", "c", 0) != naming.pod_name_of("a", "b-c", 0)


def test_pods_of_a_long_name_differ_by_their_ordinal() -> None:
    """Cutting a name leaves its ordinal."""
    record = a_record(fleet="a" * 63, name=f"{'a' * 63}.v1")
    names = {naming.pod_name(record, ordinal) for ordinal in (0, 1, 10, 999)}
    assert len(names) == 4
    assert max(map(len, names)) <= 63


@pytest.mark.parametrize(
    ("fleet", "version", "expected"),
    [("support", "v1", "support.v1.token"), ("a" * 63, "v1", f"{'a' * 51}-9007a.token")],
)
def test_a_secret_is_named_by_its_version(fleet: str, version: str, expected: str) -> None:
    """The Secret of a version's token bears its name."""
    assert naming.secret_name(fleet, version) == expected


@pytest.mark.parametrize(("name", "expected"), [("v2", "v2"), (None, "h-0123456789")])
def test_a_version_without_a_name_is_named_by_its_hash(name: str | None, expected: str) -> None:
    """The id is the spec's own name, or ten digits of the hash."""
    assert naming.version_id(name, "sha256-1:0123456789abcdef") == expected
