"""Names of everything that a fleet's pass makes: functions of the spec, at most 63 characters. Pure."""

import hashlib
from typing import Final

from pinfleet_operator.api.child import VersionRecord

MOST_CHARACTERS: Final = 63
HASH_CHARACTERS: Final = 5


def version_id(name: str | None, spec_hash: str) -> str:
    """The id of the version that a spec describes: the name it gives, else one by its hash."""
    return name or f"h-{spec_hash.rpartition(':')[2][:10]}"


def version_name(fleet: str, version: str) -> str:
    """Name of the AgentVersion; neither part holds a dot, so two fleets never meet."""
    return f"{fleet}.{version}"


def secret_name(fleet: str, version: str) -> str:
    """Name of the Secret with the version's token."""
    whole = version_name(fleet, version)
    end = ".token"
    return whole + end if len(whole) + len(end) <= MOST_CHARACTERS else _cut(whole, f"-{_hash(whole)}{end}")


def pod_name(version: VersionRecord, ordinal: int) -> str:
    """Name of one pod of a version."""
    return pod_name_of(version.fleet, version.id, ordinal)


def pod_name_of(fleet: str, version: str, ordinal: int) -> str:
    """Name of one pod of a version.

    Fleet ``a-b`` with version ``c`` and fleet ``a`` with version ``b-c`` would meet: a name with more dashes than the
    one between its parts carries a hash of both.
    """
    stem, end, whole = f"{fleet}-{version}", f"-{ordinal}", version_name(fleet, version)
    if stem.count("-") == 1 and len(stem) + len(end) <= MOST_CHARACTERS:
        return stem + end
    return _cut(stem, f"-{_hash(whole)}{end}")


def _cut(stem: str, end: str) -> str:
    return stem[: MOST_CHARACTERS - len(end)].rstrip("-.") + end


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_CHARACTERS]
