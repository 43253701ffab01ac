"""What an HTTP answer of the API server means: bytes, or one of `errors.ClusterError`. Pure."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import msgspec

from pinfleet_operator.api.nesting import decode
from pinfleet_operator.errors import ClusterError, Conflict, Forbidden, Gone, NotFound, Rejected, Unavailable
from pinfleet_operator.kube.resources import NAMESPACES, SECRETS, Resource

CAUSE_LIMIT: Final = 1000  # characters of the server's own words that go into a message

_CLASSES: Final[dict[int, type[ClusterError]]] = {
    400: Rejected,
    401: Forbidden,
    403: Forbidden,
    405: Rejected,
    406: Rejected,
    409: Conflict,
    410: Gone,
    413: Rejected,
    415: Rejected,
    422: Rejected,
}
"""By status; every other one leaves the outcome unknown or asks for another try. 404 is judged by its body."""


@dataclass(frozen=True)
class Call:
    """One call, for messages and metrics."""

    verb: str
    resource: Resource
    namespace: str | None
    name: str | None = None  # None: the collection
    subresource: str | None = None

    def cannot(self, cause: str) -> str:
        """The message of its failure."""
        where = "/".join(part for part in (self.namespace, self.name) if part) or "*"
        kind = self.resource.kind if self.subresource is None else f"{self.subresource} of {self.resource.kind}"
        return f"cannot {self.verb} {kind} {where}: {cause}"


class Details(msgspec.Struct):
    """Which object a Status is about."""

    name: str = ""
    group: str = ""
    kind: str = ""  # the resource as in paths, such as ``pods``


class Status(msgspec.Struct):
    """The API server's own account of a failure; also the object of a watch's ERROR event."""

    message: str = ""
    reason: str = ""
    code: int = 0
    details: Details | None = None


_STATUS: Final = msgspec.json.Decoder(Status)


def decode_status(body: bytes | msgspec.Raw) -> Status:
    """Read a Status; a body of another kind, such as a proxy's page, is taken as its message."""
    try:
        return decode(_STATUS, body)
    except msgspec.MsgspecError:
        return Status(message=bytes(body)[:CAUSE_LIMIT].decode(errors="replace").strip())


def failure(call: Call, code: int, body: bytes | msgspec.Raw, retry_after: str | None = None) -> ClusterError:
    """The error that an answer stands for.

    Args:
        call: what was asked.
        code: HTTP status, or the code of a watch's ERROR event.
        body: a Status as JSON, or anything.
        retry_after: the header of that name.
    """
    status = decode_status(body)
    # A Secret's refusal may quote it.
    words = status.reason if call.resource == SECRETS else status.message or status.reason
    message = call.cannot(f"{words[:CAUSE_LIMIT] or 'no reason given'} ({code})")
    known = NotFound if code == HTTPStatus.NOT_FOUND and _is_gone(call, status) else _CLASSES.get(code)
    if known is not None:
        return known(message)
    return Unavailable(message, retry_after_seconds=_seconds(retry_after))


def _is_gone(call: Call, status: Status) -> bool:
    """Whether a 404 says that the object, or the namespace that it would be in, is not there.

    A path that is not served, by a server without the CRD or by a proxy in between, is a 404 too. What is taken for
    deleted costs runs, so every other 404 is no answer.
    """
    about = status.details
    if status.reason != "NotFound" or about is None:
        return False
    asked = (call.resource.group, call.resource.plural, call.name)
    return (about.group, about.kind, about.name) in {asked, ("", NAMESPACES.plural, call.namespace)}


def _seconds(retry_after: str | None) -> float | None:
    try:
        return max(0.0, float(retry_after)) if retry_after else None
    except ValueError:  # an HTTP date: no API server sends one
        return None
