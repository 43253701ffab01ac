"""Every exception that the operator raises on purpose, and what a caller does with it.

::

    PinfleetError
    ├── ClusterError            the API server said no, or nothing
    │   ├── NotFound            the object is not there: observe again
    │   ├── Conflict            the object changed or exists: read and compare
    │   ├── Gone                the resourceVersion is too old: list again
    │   ├── Rejected            the object is not valid (400, 422): never retried unchanged
    │   ├── Forbidden           RBAC, quota, Pod Security or a policy refuses: back off, say so
    │   └── Unavailable         no answer, 429 or 5xx: outcome unknown, retry after a while
    ├── PodError                a pod's server said no, or nothing
    │   ├── PodRefused          an answer of 4xx or 5xx with a code of the run protocol
    │   └── PodUnreachable      no answer in time
    ├── NotLeader               this process may not write: whatever it was doing must stop
    ├── BadConfig               the operator's own environment cannot be used: it does not start
    ├── BadManifest             a user's object cannot be used: becomes a condition
    └── Bug                     a promise of ours is broken: the process stops

Whether to retry is a class, not a string. Messages read "cannot <verb> <kind> <namespace>/<name>: <cause>".
"""


class PinfleetError(Exception):
    """Base of every error here."""


class ClusterError(PinfleetError):
    """The API server refused a request or did not answer."""


class NotFound(ClusterError):
    """The object does not exist (404)."""


class Conflict(ClusterError):
    """The object changed since it was read, or exists already (409)."""


class Gone(ClusterError):
    """The resourceVersion or continue token is too old (410)."""


class Rejected(ClusterError):
    """The object does not fit its schema or a rule (400, 413, 422)."""


class Forbidden(ClusterError):
    """RBAC, quota, Pod Security or a policy refuses (401, 403)."""


class Unavailable(ClusterError):
    """No answer, 429 or 5xx: whether the request was carried out is unknown."""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds  # the server's own wish; None: it had none


class PodError(PinfleetError):
    """A pod's server refused a call or did not answer."""


class PodRefused(PodError):
    """The pod answered with an error of the run protocol."""

    def __init__(self, message: str, *, status: int, code: str, value: int | str | None = None) -> None:
        super().__init__(message)
        self.status = status  # HTTP status
        self.code = code  # pinfleet.wire.ErrorCode, or "unknown" for a foreign body
        self.value = value  # the code's own value, such as the pod's epoch


class PodUnreachable(PodError):
    """The pod did not answer in time, or nobody listens there."""


class NotLeader(PinfleetError):
    """This process does not lead, or cannot know that it does; nothing may be written, no worker goes on after it."""


class BadConfig(PinfleetError):
    """The operator's environment cannot be used; the message names the variable and says what to write."""


class BadManifest(PinfleetError):
    """A user's object cannot be used; the message says what to write instead."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason  # a condition's reason, from api.keys


class Bug(PinfleetError):
    """A promise of this code is broken; going on would make it worse."""
