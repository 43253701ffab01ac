"""When nobody knows whether a call acted, and what providers say about a call that they get again."""

import json
from typing import Final

from pinfleet import values
from pinfleet.bodies import Done
from pinfleet.errors import OutcomeUnknown, describe
from pinfleet.journal.interface import StepRow

STILL_RUNNING: Final = 409
"""The provider works on this key (draft-ietf-httpapi-idempotency-key-header): wait."""

OTHER_ARGUMENTS: Final = 422
"""The provider had this key with other arguments (same source)."""

_IN_DOUBT: Final = frozenset({
    "TimeoutError", "ConnectionResetError", "ConnectionAbortedError", "BrokenPipeError",  # builtins
    "TimeoutException", "ReadError", "WriteError", "RemoteProtocolError",  # httpx
    "ServerDisconnectedError", "ClientPayloadError", "ClientOSError",  # aiohttp
    "Timeout", "ChunkedEncodingError",  # requests
    "OutcomeUnknown",
})  # fmt: skip
"""Names of errors after which a request may have arrived; a client library is never imported for it."""


def is_in_doubt(err: BaseException) -> bool:
    """Whether the call may have acted although it raised."""
    return not {kind.__name__ for kind in type(err).__mro__}.isdisjoint(_IN_DOUBT)


def provider_status(err: BaseException) -> int | None:
    """Return the HTTP status that an error of httpx, requests or aiohttp carries."""
    found = getattr(getattr(err, "response", None), "status_code", None) or getattr(err, "status", None)
    return found if isinstance(found, int) else None


def unknown(err: OutcomeUnknown) -> Done:
    """Return what a call in doubt is recorded as."""
    kind, message = describe(err)
    return Done("unknown", values.encode({"type": kind, "message": message}, "failure"), error=OutcomeUnknown(message))


def recorded(row: StepRow) -> OutcomeUnknown:
    """Return the doubt that was recorded."""
    return OutcomeUnknown(json.loads(row.result)["message"])
