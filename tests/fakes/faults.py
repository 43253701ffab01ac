"""Ways in which an API server, or what is between, misbehaves; a test injects them into the fake one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

When = Callable[[web.Request], bool]


@dataclass(frozen=True)
class Answer:
    """Answers with a status instead of doing what was asked."""

    code: int
    message: str = "injected"
    retry_after: str | None = None
    body: bytes | None = None  # None: a proper Status


@dataclass(frozen=True)
class Silence:
    """Takes the request and never answers; the change is made before, or not at all."""

    is_done: bool = False


@dataclass(frozen=True)
class Cut:
    """Closes the connection instead of answering; the change is made before, or not at all."""

    is_done: bool = False


@dataclass(frozen=True)
class Break:
    """Ends a watch after so many lines."""

    after_lines: int
    how: Literal["end", "reset", "truncate", "garbage", "error", "hang"]
    code: int = 410  # of an error event


Fault = Answer | Silence | Cut | Break


@dataclass
class Injected:
    """A fault, and when it strikes."""

    fault: Fault
    when: When
    times: int  # how often it strikes yet


def is_watch(request: web.Request) -> bool:
    """A watch of any kind."""
    return request.query.get("watch") == "true"


def is_sync(request: web.Request) -> bool:
    """A watch that asks for the initial events."""
    return request.query.get("sendInitialEvents") == "true"


def is_resume(request: web.Request) -> bool:
    """A watch from a resourceVersion on."""
    return is_watch(request) and not is_sync(request)


def is_list(request: web.Request) -> bool:
    """A read of a collection."""
    return request.method == "GET" and not is_watch(request) and request.path.endswith("s")


def is_method(method: str) -> When:
    """Any request by this method."""
    return lambda request: request.method == method
