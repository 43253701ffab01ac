"""``Secret[T]``: a value that steps and tools may be given, and that nothing of ours writes down.

An argument that is one is recorded as a keyed hash. Results, inputs, messages and what a person is shown cannot hold
one. What is shown (a run's result, errors, log lines) is searched for the secrets that are alive, and for what looks
like a credential.
"""

import json
import re
import weakref
from collections.abc import Iterator, Mapping
from typing import Any, Final, Generic, NoReturn, TypeVar

T = TypeVar("T")

HIDDEN: Final = "[secret]"
SHORTEST: Final = 6
"""Shorter texts are not searched for: they stand in any text."""

_CREDENTIAL: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----"  # RFC 7468
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"  # AWS: IAM identifiers
    r"|\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"  # GitHub: about authentication
    r"|\bxox[abeoprs]-[A-Za-z0-9-]{10,}"  # Slack: token types
    r"|\bsk-[A-Za-z0-9_-]{20,}",  # keys of model providers
    re.DOTALL,
)
"""What looks like a credential whoever holds it: formats that their issuers made to be found."""

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
    """Return a text without the secrets that are alive in this process, and without what looks like a credential."""
    for alive in list(_ALIVE.values()):
        secret = alive()
        if secret is None:
            continue
        for word in _words(secret.reveal()):
            if len(word) >= SHORTEST:
                text = text.replace(word, HIDDEN).replace(json.dumps(word)[1:-1], HIDDEN)
    return _CREDENTIAL.sub(HIDDEN, text)


def scrubbed_json(text: str) -> str:
    """Return a JSON text whose strings are scrubbed; the very text if nothing is found."""
    return text if scrubbed(text) == text else json.dumps(_scrubbed(json.loads(text)), ensure_ascii=False)


def _scrubbed(plain: Any) -> Any:
    if isinstance(plain, str):
        return scrubbed(plain)
    if isinstance(plain, list):
        return [_scrubbed(each) for each in plain]
    if isinstance(plain, dict):
        return {scrubbed(key): _scrubbed(each) for key, each in plain.items()}
    return plain


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
