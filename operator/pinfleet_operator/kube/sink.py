"""Where a reflector puts what it sees."""

from typing import Protocol, TypeVar

T = TypeVar("T")


class Sink(Protocol[T]):
    """Takes what a reflector sees, in stream order; calls are never concurrent and must not raise."""

    def replace(self, items: list[T], resource_version: str) -> None:
        """The whole collection as of `resource_version`; what is not in it is gone."""

    def upsert(self, item: T, resource_version: str) -> None:
        """An object was added or changed."""

    def remove(self, item: T, resource_version: str) -> None:
        """An object is gone, or left the selectors; `item` is its last state."""

    def bookmark(self, resource_version: str) -> None:
        """Nothing else happened up to `resource_version`."""
