"""Values in the journal: plain JSON, with tags for scalars alone.

Data never names code: a dataclass, msgspec or pydantic value is stored as its fields and comes back by the type that
the step *declares*. What the journal cannot hold is refused with the step and the path of the field.

A tagged scalar is ``{"$": "<tag>", "v": <text>}``; a mapping of the author's with the key ``$`` is wrapped in the
tag ``map``.
"""

import base64
import dataclasses
import enum
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, Literal
from uuid import UUID

import msgspec

from pinfleet.errors import NotStorable
from pinfleet.secret import Secret

MAX_DEPTH: Final = 100
MAX_BYTES: Final = 16 * 1024 * 1024
ARGUMENTS_LIMIT: Final = 4_096
TAG: Final = "$"
_CANONICAL: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False)
_INT_LIMIT: Final = 2**63


Keyed = Callable[[bytes], str]
"""Hashes the text of a secret under a key that the journal does not hold."""


@dataclasses.dataclass(frozen=True, slots=True)
class Hashed:
    """A recorded argument of which the journal has a hash alone."""

    tag: Literal["sha256", "secret"]  # of a long one; of a secret, keyed
    text: str


def encode(
    value: object, step: str, *, field: str = "result", tagged: bool = True, keyed: Keyed | None = None
) -> bytes:
    """Return the JSON text of a value, canonical: sorted keys, no blanks.

    Args:
        value: What to store.
        step: Named in the error.
        field: Path of the value, named in the error.
        tagged: False writes scalars as bare text, for readers that are not this SDK (a run's result).
        keyed: Hashes secrets; None refuses them.

    Raises:
        NotStorable: Names the field that JSON cannot hold.
    """
    plain = _Encoder(step, tagged=tagged, keyed=keyed).plain(value, field, 0)
    text = _CANONICAL.encode(plain).encode()
    if len(text) > MAX_BYTES:
        raise NotStorable(step, field, f"{len(text)} bytes of JSON, over {MAX_BYTES}; store a reference to it")
    return text


class _Encoder:
    """Turns a value into plain JSON, keeping the path of where it is."""

    def __init__(self, step: str, *, tagged: bool, keyed: Keyed | None = None) -> None:
        self._step = step
        self._tagged = tagged
        self._keyed = keyed

    def plain(self, value: object, path: str, depth: int) -> object:
        """Return the value as lists, dicts and scalars."""
        if depth > MAX_DEPTH:
            raise NotStorable(self._step, path, f"nested deeper than {MAX_DEPTH} levels, or it holds itself")
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, enum.Enum):
            return self.plain(value.value, path, depth + 1)
        if isinstance(value, str | int | float):
            return self._number_or_text(value, path)
        return self._other(value, path, depth)

    def _other(self, value: object, path: str, depth: int) -> object:
        scalar = _tag_of(value)
        if scalar is not None:
            return {TAG: scalar[0], "v": scalar[1]} if self._tagged else scalar[1]
        if isinstance(value, Secret):
            return {TAG: "secret", "v": self._hash(value, path)}
        if isinstance(value, Hashed):
            return {TAG: value.tag, "v": value.text}
        if isinstance(value, date | time | timedelta):
            return msgspec.to_builtins(value)
        if isinstance(value, Mapping):
            return self._mapping(value, path, depth)
        if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
            return [self.plain(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
        if isinstance(value, set | frozenset):
            items = [self.plain(item, f"{path}{{}}", depth + 1) for item in value]
            return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))  # a set's own order is random
        return self._fields(value, path, depth)

    def _hash(self, secret: Secret[object], path: str) -> str:
        if self._keyed is None:
            raise NotStorable(
                self._step, path, "a Secret is written nowhere; it may be an argument of a step or a tool, whose keyed "
                "hash is recorded: Agent(secret_key=...) gives the key",
            )  # fmt: skip
        return self._keyed(encode(secret.reveal(), self._step, field=path))

    def _number_or_text(self, value: str | int | float, path: str) -> object:  # noqa: PYI041 - int is checked apart
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                raise NotStorable(self._step, path, "text with a lone surrogate, which is not Unicode") from None
            return str(value)
        if isinstance(value, float):
            if not math.isfinite(value):
                raise NotStorable(self._step, path, f"{value} is not JSON")
            return float(value)
        if not -_INT_LIMIT <= value < _INT_LIMIT:
            raise NotStorable(self._step, path, "an integer outside 64 bits; store it as text")
        return int(value)

    def _mapping(self, value: Mapping[object, object], path: str, depth: int) -> object:
        plain: dict[str, object] = {}
        for key, item in value.items():
            if not isinstance(key, str) or isinstance(key, enum.Enum):
                raise NotStorable(self._step, path, f"key {key!r} is {type(key).__name__}; JSON has text keys only")
            self._number_or_text(key, f"{path}.<key>")
            plain[key] = self.plain(item, f"{path}.{key}", depth + 1)
        return {TAG: "map", "v": plain} if self._tagged and TAG in plain else plain

    def _fields(self, value: object, path: str, depth: int) -> object:
        if isinstance(value, type):
            raise NotStorable(self._step, path, f"the class {value.__name__} itself; data never names code")
        if dataclasses.is_dataclass(value):
            stored = (field.name for field in dataclasses.fields(value) if field.init)
            named: dict[object, object] = {name: getattr(value, name) for name in stored}
        elif isinstance(value, msgspec.Struct):
            encoded = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
            named = {wire: getattr(value, name) for wire, name in encoded}
        elif hasattr(value, "model_dump") and hasattr(type(value), "model_validate"):  # pydantic, never imported
            named = value.model_dump(mode="python", by_alias=True)
        else:
            kind = f"{type(value).__module__}.{type(value).__qualname__}"
            raise NotStorable(self._step, path, f"{kind} is neither JSON nor a dataclass, msgspec or pydantic value")
        return self._mapping(named, path, depth)


def _tag_of(value: object) -> tuple[str, str] | None:
    """Return tag and text of a scalar that JSON does not have."""
    if isinstance(value, datetime):
        return "datetime", value.isoformat()
    if isinstance(value, Decimal):
        return "decimal", str(value)
    if isinstance(value, UUID):
        return "uuid", str(value)
    if isinstance(value, bytes | bytearray):
        return "bytes", base64.b64encode(value).decode()
    return None


_UNTAG: Final[Mapping[str, Any]] = {
    "datetime": datetime.fromisoformat,
    "decimal": Decimal,
    "uuid": UUID,
    "bytes": base64.b64decode,
    "sha256": lambda text: Hashed("sha256", text),
    "secret": lambda text: Hashed("secret", text),
}


def _untag(plain: object) -> object:
    if isinstance(plain, list):
        return [_untag(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    if TAG not in plain:
        return {key: _untag(item) for key, item in plain.items()}
    tag, value = plain[TAG], plain.get("v")
    if tag == "map" and isinstance(value, dict):
        return {key: _untag(item) for key, item in value.items()}
    if tag in _UNTAG and isinstance(value, str):
        return _UNTAG[tag](value)
    raise ValueError(f"unknown tag {tag!r} in stored data")


def decode(text: bytes, declared: Any, step: str, *, field: str = "result") -> Any:
    """Return the value of a JSON text as the type that the code declares.

    Args:
        text: What ``encode`` wrote, or plain JSON.
        declared: A type; Any, object and None's absence mean plain JSON with its tagged scalars.
        step: Named in the error.
        field: Named in the error.

    Raises:
        NotStorable: The data does not fit the declared type.
    """
    plain = _untag(json.loads(text)) if b'"$"' in text else json.loads(text)
    if declared in (Any, object):
        return plain
    try:
        return msgspec.convert(plain, declared, dec_hook=_decode_other, str_keys=True)
    except (msgspec.ValidationError, TypeError, ValueError) as err:
        name = getattr(declared, "__name__", str(declared))
        raise NotStorable(step, field, f"does not come back as the declared {name}: {err}") from err


def _decode_other(declared: Any, plain: object) -> object:
    """Decode a type that msgspec does not know."""
    if declared is object:
        return plain
    validate = getattr(declared, "model_validate", None)
    if validate is not None:
        return validate(plain)
    raise TypeError(f"{declared!r} is neither JSON nor a dataclass, msgspec or pydantic type")


def arguments(named: Mapping[str, object], step: str, keyed: Keyed | None = None) -> bytes:
    """Return a call's arguments as canonical JSON; over 4 KiB, a hash for each argument.

    Args:
        named: By name.
        step: Named in the error.
        keyed: Hashes secrets; None refuses them.

    Raises:
        NotStorable: Names the argument.
    """
    texts = {name: encode(value, step, field=name, keyed=keyed) for name, value in named.items()}
    parts = (_CANONICAL.encode(name).encode() + b":" + texts[name] for name in sorted(texts))
    whole = b"{" + b",".join(parts) + b"}"
    if len(whole) <= ARGUMENTS_LIMIT:
        return whole
    hashes = {name: Hashed("sha256", hashlib.sha256(text).hexdigest()) for name, text in texts.items()}
    return encode(hashes, step, field="arguments")


def hashed(value: object, step: str, name: str) -> Hashed:
    """Return an argument as those of a long call are recorded."""
    if isinstance(value, Hashed) and value.tag == "sha256":
        return value
    return Hashed("sha256", hashlib.sha256(encode(value, step, field=name)).hexdigest())
