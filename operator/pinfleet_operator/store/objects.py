"""One kind of object in the store: by uid, grouped by a key, the higher resourceVersion wins."""

from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar


class Stored(Protocol):
    """What the store needs of a record."""

    @property
    def uid(self) -> str:
        """The object's uid."""

    @property
    def resource_version(self) -> int:
        """The object's resourceVersion."""


T = TypeVar("T", bound=Stored)


class Objects(Generic[T]):
    """A reflector's sink for versions or pods, and the answers of our own writes."""

    def __init__(self, group: Callable[[T], Hashable]) -> None:
        self.is_synced = False
        self.on_change: list[Callable[[T | None, T | None], None]] = []
        self._group = group
        self._by_uid: dict[str, T] = {}
        self._by_group: defaultdict[Hashable, dict[str, T]] = defaultdict(dict)
        self._removed: dict[str, int] = {}  # uid -> resourceVersion of its end, so that no late answer revives it

    def get(self, uid: str) -> T | None:
        """The object with this uid."""
        return self._by_uid.get(uid)

    def all(self) -> tuple[T, ...]:
        """Every object."""
        return tuple(self._by_uid.values())

    def of(self, group: Hashable) -> tuple[T, ...]:
        """Every object of one group, in no order."""
        found = self._by_group.get(group)
        return tuple(found.values()) if found else ()

    def put(self, item: T) -> T:
        """Take an object; returns the newest that is known of it."""
        known = self._by_uid.get(item.uid)
        if item.uid in self._removed or (known is not None and known.resource_version >= item.resource_version):
            return known or item
        if known is not None:
            self._ungroup(known)
        self._by_uid[item.uid] = item
        self._by_group[self._group(item)][item.uid] = item
        self._tell(known, item)
        return item

    def upsert(self, item: T, resource_version: str) -> None:  # noqa: ARG002 - the sink's signature
        """An object was added or changed."""
        self.put(item)

    def remove(self, item: T, resource_version: str) -> None:
        """An object is gone."""
        self._drop(item.uid, int(resource_version))

    def replace(self, items: list[T], resource_version: str) -> None:
        """A whole list, as of `resource_version`; whatever is not in it and is not newer is gone."""
        present = {item.uid for item in items}
        at = int(resource_version)
        for uid, known in list(self._by_uid.items()):
            if uid not in present and known.resource_version <= at:
                self._drop(uid, at)
        for item in items:
            self.put(item)
        self._removed = {uid: rv for uid, rv in self._removed.items() if rv >= at}
        self.is_synced = True

    def bookmark(self, resource_version: str) -> None:
        """Nothing changed; late answers of what ended long ago cannot come any more."""
        horizon = int(resource_version) - 100_000
        self._removed = {uid: rv for uid, rv in self._removed.items() if rv > horizon}

    def _drop(self, uid: str, at: int) -> None:
        self._removed[uid] = at
        known = self._by_uid.pop(uid, None)
        if known is not None:
            self._ungroup(known)
            self._tell(known, None)

    def _ungroup(self, item: T) -> None:
        group = self._group(item)
        self._by_group[group].pop(item.uid, None)
        if not self._by_group[group]:
            del self._by_group[group]

    def _tell(self, old: T | None, new: T | None) -> None:
        for listener in self.on_change:
            listener(old, new)
