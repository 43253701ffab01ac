"""Reads the lines of a watch: what happened, to which object, at which resourceVersion. Pure."""

from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from pinfleet_operator.api.nesting import decode

INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"  # annotation of the bookmark that ends a watch-list's snapshot

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a watch."""

    type: EventType
    uid: str  # empty for bookmarks and errors
    resource_version: str  # empty for errors
    ends_snapshot: bool
    raw: msgspec.Raw  # the object; of an ERROR the Status


class _Line(msgspec.Struct):
    type: EventType
    object: msgspec.Raw


class _Meta(msgspec.Struct):
    uid: str = ""
    resource_version: str = msgspec.field(name="resourceVersion", default="")
    annotations: dict[str, str] | None = None


class _Head(msgspec.Struct):
    metadata: _Meta


_LINE: Final = msgspec.json.Decoder(_Line)
_HEAD: Final = msgspec.json.Decoder(_Head)


def decode_event(line: bytes) -> Event:
    """Read one line; an object that nests too deep for the stack comes cut (`api.nesting`).

    Raises:
        msgspec.MsgspecError: it is no event.
    """
    found = decode(_LINE, line)
    if found.type == "ERROR":
        return Event("ERROR", "", "", ends_snapshot=False, raw=found.object)
    meta = decode(_HEAD, found.object).metadata
    if not meta.resource_version.isdecimal():
        raise msgspec.ValidationError("the object has no resourceVersion")
    ends = found.type == "BOOKMARK" and meta.annotations is not None and INITIAL_EVENTS_END in meta.annotations
    return Event(found.type, meta.uid, meta.resource_version, ends_snapshot=ends, raw=found.object)
