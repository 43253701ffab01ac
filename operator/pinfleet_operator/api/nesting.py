"""How deep a JSON text nests, and reading one that nests too deep for the stack. Pure, and without recursion.

Callers: whoever decodes what others wrote: ``kube``, ``wire`` and the records of ``api``. msgspec recurses once a
level, also in what it only skips, and raises RecursionError after some hundred levels, fewer the deeper the stack is.
The API server takes 10,000 levels in fields without a schema. One such object must not end the process that reads it.
"""

import re
from typing import Final, TypeVar

import msgspec

VALUE_DEPTH_LIMIT: Final = 200
"""Levels of an input or a result; the SDK itself makes at most 100."""

TEXT_DEPTH_LIMIT: Final = 300
"""Levels of a whole text that are read; what lies below them is read as null. More than a value's limit and the levels
around it, so that a value that was cut still shows that it nested too deep."""

_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
"""A string, whole, or a bracket; a string without an end reaches to the text's."""

_OPENING, _CLOSING = b"[{", b"]}"

T = TypeVar("T")


def decode(decoder: msgspec.json.Decoder[T], raw: bytes | msgspec.Raw) -> T:
    """Read a JSON text; what nests deeper than TEXT_DEPTH_LIMIT may be read as null.

    Raises:
        msgspec.MsgspecError: it does not fit, or is no JSON, or no UTF-8; nothing else is raised.
    """
    try:
        try:
            return decoder.decode(raw)
        except RecursionError:
            return decoder.decode(cut(bytes(raw), TEXT_DEPTH_LIMIT))
    except (UnicodeError, RecursionError) as err:
        raise msgspec.DecodeError(f"{type(err).__name__}: {err}") from err


def nests_deeper(text: bytes, limit: int) -> bool:
    """Whether lists and objects lie in each other more than `limit` levels deep."""
    if text.count(b"[") + text.count(b"{") <= limit:  # as good as always, and fast
        return False
    depth = 0
    for token in _TOKEN.finditer(text):
        sign = text[token.start()]
        if sign in _OPENING:
            depth += 1
            if depth > limit:
                return True
        elif sign in _CLOSING:
            depth -= 1
    return False


def cut(text: bytes, limit: int) -> bytes:
    """The text with null for each list and object below `limit` levels."""
    parts: list[bytes] = []
    depth, kept = 0, 0
    for token in _TOKEN.finditer(text):
        sign = text[token.start()]
        if sign in _OPENING:
            depth += 1
            if depth == limit + 1:
                parts += (text[kept : token.start()], b"null")
        elif sign in _CLOSING:
            if depth == limit + 1:
                kept = token.end()
            depth -= 1
    if depth > limit:  # it ends inside of what was cut: no JSON, and left as it is
        return text
    return b"".join((*parts, text[kept:]))
