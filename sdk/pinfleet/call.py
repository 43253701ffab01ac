"""``Call``: what a tool's function is given to say to its provider."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool."""

    key: str  # the same for every send of this call, over pods and epochs; no other call has it
    attempt: int = 1  # sends of this call, this one included

    @property
    def headers(self) -> Mapping[str, str]:
        """HTTP headers that carry the key to a provider that honours it."""
        return MappingProxyType({"Idempotency-Key": self.key})
