"""``Secret[T]``: a value that steps and tools may be given, and that nothing of ours writes down.

An argument that is one is recorded as a keyed hash. Results, inputs, messages and what a person is shown cannot hold
one. The text of errors and of log lines is searched for the secrets that are alive.
"""

import json
import weakref
from collections.abc import Iterator, Mapping
from typing import Any, Final, Generic, NoReturn, TypeVar

T = TypeVar("T")

HIDDEN: Final = "[secret]"
SHORTEST: Final = 4
"""Shorter texts are not searched for: they stand in any text."""

_ALIVE: Final[dict[int, "weakref.ref[Secret[Any]]"]] = {}


class Secret(Generic[T]):
    """A value that is not to be written down.

    Args:
        value: Text, or anything that JSON can hold.
    """

    __slots__ = ("__weakref__", "_value")

    def __init__(self, value: T) -> None:
        self._value = value
        mine = id(self)
        _ALIVE[mine] = weakref.ref(self, lambda _: _ALIVE.pop(mine, None))

    def reveal(self) -> T:
        """Return the value; call it inside the step that needs it."""
        return self._value

    def __repr__(self) -> str:
        """Return what may be printed."""
        return "Secret(...)"

    def __eq__(self, other: object) -> bool:
        """Compare values."""
        return isinstance(other, Secret) and bool(self._value == other._value)

    def __hash__(self) -> int:
        """Hash as the value does."""
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied."""
        raise TypeError("a Secret is not pickled: give the value anew where it is needed")


def scrubbed(text: str) -> str:
    """Return a text without the secrets that are alive in this process."""
    for alive in list(_ALIVE.values()):
        secret = alive()
        if secret is None:
            continue
        for word in _words(secret.reveal()):
            if len(word) >= SHORTEST:
                text = text.replace(word, HIDDEN).replace(json.dumps(word)[1:-1], HIDDEN)
    return text


def _words(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, bytes):
        yield value.decode("utf-8", "replace")
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _words(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _words(each)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
