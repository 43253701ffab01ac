"""What a step is called: (run, scope, name, n).

The scope is the path of branches and of gather's and map's children; n counts the calls of one name in one scope. Two
calls that overlap have no order, so they have no n: they are refused, on the first run where timing shows it.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from pinfleet.errors import AmbiguousStep
from pinfleet.wire import WAIT_ID_LIMIT

ROOT: Final = ""
"""Scope of main itself."""


class StepKey(NamedTuple):
    """Identity of a step or a wait within its run."""

    scope: str
    name: str
    n: int  # from 1

    def __str__(self) -> str:
        path = f"{self.scope}/" if self.scope else ""
        return f"{path}{self.name}#{self.n}"


def child_scope(scope: str, part: str) -> str:
    """Return the scope inside another; the parts are joined by ``/``, which ``part`` may not hold unescaped."""
    escaped = part.replace("%", "%25").replace("/", "%2F")
    return f"{scope}/{escaped}" if scope else escaped


def wait_id(key: StepKey) -> str:
    """Return a wait's identity as the wire has it: where there is no room for it, its end is its hash."""
    text = str(key)
    if len(text) <= WAIT_ID_LIMIT:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{text[: WAIT_ID_LIMIT - len(digest) - 1]}~{digest}"


class Identities:
    """Hands out the identities of one execution of one run.

    Args:
        counts: What the segments before used: identities go on over a restart.
    """

    def __init__(self, counts: Iterable[StepKey] = ()) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        for key in counts:
            self._counts[key.scope, key.name] = max(key.n, self._counts[key.scope, key.name])
        self._open: set[tuple[str, str]] = set()

    def begin(self, scope: str, name: str) -> StepKey:
        """Return the identity of a call that begins; ``finish`` must follow.

        Raises:
            AmbiguousStep: A call of this name is still open in this scope.
        """
        place = (scope, name)
        if place in self._open:
            where = f"scope {scope!r}" if scope else "main"
            raise AmbiguousStep(
                f"two calls of {name!r} overlap in {where}: their order is not an identity. "
                f"Run them in ctx.gather, ctx.map, or each in its own ctx.branch(key)"
            )
        self._open.add(place)
        return self.next(scope, name)

    @contextmanager
    def held(self, scope: str, name: str) -> Iterator[StepKey]:
        """Give the identity of a call for as long as it lasts; see ``begin``."""
        key = self.begin(scope, name)
        try:
            yield key
        finally:
            self.finish(key)

    def next(self, scope: str, name: str) -> StepKey:
        """Return the identity of a call that cannot overlap, such as reading the clock."""
        self._counts[scope, name] += 1
        return StepKey(scope, name, self._counts[scope, name])

    def counts(self) -> list[StepKey]:
        """Return the newest identity of every name in every scope that may come again."""
        return [StepKey(scope, name, n) for (scope, name), n in sorted(self._counts.items())]

    def leave(self, scope: str) -> None:
        """A scope and those inside it never come again."""
        inside = scope + "/"
        gone = [place for place in self._counts if place[0] == scope or place[0].startswith(inside)]
        for place in gone:
            del self._counts[place]

    def open_in(self, scope: str) -> list[StepKey]:
        """Return the identities of the calls that are under way in a scope."""
        return [StepKey(scope, name, self._counts[scope, name]) for where, name in sorted(self._open) if where == scope]

    def finish(self, key: StepKey) -> None:
        """The call is over, however it ended."""
        self._open.discard((key.scope, key.name))
