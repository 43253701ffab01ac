"""What the operator's environment says; a value that cannot be used stops the process and says what to write."""

from pathlib import Path

import pytest

from pinfleet_operator.config import Config, read_config
from pinfleet_operator.errors import BadConfig
from pinfleet_operator.lease import LeaseTimes


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A key that is long enough."""
    path = tmp_path / "key"
    path.write_bytes(b"k" * 32)
    return path


def read(key_file: Path, **given: str) -> Config:
    """The configuration of an environment with this beside what is needed."""
    return read_config({"PINFLEET_NAMESPACE": "system", "PINFLEET_KEY_FILE": str(key_file)} | given)


def test_two_processes_of_one_name_are_two_candidates(key_file: Path) -> None:
    """A name that two replicas share, or that a restarted container keeps, does not make them one in the Lease."""
    first, second = (read(key_file, PINFLEET_IDENTITY="operator").identity for _ in range(2))
    assert first != second
    assert first.startswith("operator_")


def test_the_leases_times_can_be_given(key_file: Path) -> None:
    """In seconds; what is not given stays as it is."""
    given = {"PINFLEET_LEASE_SECONDS": "6", "PINFLEET_RENEW_DEADLINE_SECONDS": "4"}
    assert read(key_file, **given).lease == LeaseTimes(lease=6, renew_deadline=4, retry=LeaseTimes().retry)
    assert read(key_file).lease == LeaseTimes()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PINFLEET_LEASE_SECONDS", "5", "less than"),
        ("PINFLEET_LEASE_RETRY_SECONDS", "5", "less than"),
        ("PINFLEET_LEASE_RETRY_SECONDS", "0", "less than"),
        ("PINFLEET_RENEW_DEADLINE_SECONDS", "soon", "must be a number"),
    ],
)
def test_times_under_which_two_could_lead_are_refused(key_file: Path, name: str, value: str, message: str) -> None:
    """A leader stops before anybody else may begin, and renews before it stops."""
    with pytest.raises(BadConfig, match=message):
        read(key_file, **{name: value})
