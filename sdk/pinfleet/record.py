"""What the journal holds of a run, as its code meets it again: every row is read once, at its place."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pinfleet import values
from pinfleet.identity import StepKey
from pinfleet.journal.interface import CallRow, History, StepRow, WaitRow
from pinfleet.rules import Rules

NO_RENAMES: Final[Mapping[str, Sequence[str]]] = MappingProxyType({})
_LATEST: Final = 256  # ids of messages that a new segment knows from those before


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a segment needs of those before it."""

    input: bytes | None = None  # JSON: what ctx.restart was given; None in the first segment
    counts: tuple[StepKey, ...] = ()  # the newest identities
    unknown: tuple[tuple[str, str, str], ...] = ()  # tool, arguments, what was said
    messages: tuple[str, ...] = ()  # ids that came, the latest
    messages_seen: int = 0

    def text(self) -> bytes:
        """Return it as the journal keeps it."""
        held = {
            "input": self.input.decode() if self.input is not None else None,
            "counts": [list(key) for key in self.counts],
            "unknown": [list(each) for each in self.unknown],
            "messages": list(self.messages[-_LATEST:]),
            "messagesSeen": self.messages_seen,
        }
        return values.encode(held, "ctx.restart", tagged=False)


def earlier_of(text: bytes | None) -> Earlier:
    """Return what the journal keeps for this segment."""
    if text is None:
        return Earlier()
    held = json.loads(text)
    return Earlier(
        input=held["input"].encode() if held["input"] is not None else None,
        counts=tuple(StepKey(*key) for key in held["counts"]),
        unknown=tuple((tool, arguments, said) for tool, arguments, said in held["unknown"]),
        messages=tuple(held["messages"]),
        messages_seen=held["messagesSeen"],
    )


class Record:
    """The history of one execution.

    Args:
        history: What the journal held when the execution began.
        rules: Whether it is replayed at all: not in a negative control.
        renames: Former names by the name that a step has now, newest first.
    """

    def __init__(self, history: History, rules: Rules, renames: Mapping[str, Sequence[str]] = NO_RENAMES) -> None:
        self.history = history
        self._renames = renames
        self.earlier = earlier_of(history.state)
        self.asked: list[WaitRow] = [row for row in history.waits.values() if row.request_hash]
        now = {former: name for name, formers in renames.items() for former in formers}
        self.counts = tuple(key._replace(name=now.get(key.name, key.name)) for key in self.earlier.counts)
        self.unknown = {(now.get(tool, tool), args.encode()): said for tool, args, said in self.earlier.unknown}
        self.unknown |= {
            (now.get(key.name, key.name), row.arguments): json.loads(row.result)["message"]
            for key, row in history.steps.items()
            if row.status == "unknown"
        }
        self._rules = rules
        self._unread = set(history.steps)
        self._when_live: list[Callable[[], None]] = []

    @property
    def is_replaying(self) -> bool:
        """Whether recorded steps are left to read."""
        return bool(self._unread)

    @property
    def unread(self) -> list[StepKey]:
        """The recorded steps that the code has not asked for, in the order in which they were committed."""
        rows = sorted(self.history.steps.values(), key=lambda row: row.committed)
        return [row.key for row in rows if row.key in self._unread]

    def known_as(self, key: StepKey) -> StepKey:
        """Return the identity under which the journal knows a call, which may have had another name when it began.

        A call keeps it to its end: its idempotency key and what a person was asked hang on it.
        """
        rows = (self.history.steps, self.history.calls, self.history.waits)
        for name in self._renames.get(key.name, ()):
            former = key._replace(name=name)
            if any(former in each for each in rows) and not any(key in each for each in rows):
                return former
        return key

    def is_of_other_code(self, version: str, manifest: str) -> bool:
        """Whether a step was recorded by this version with other code."""
        return any(row.version == version and row.manifest != manifest for row in self.history.steps.values())

    def when_live(self, function: Callable[[], None]) -> None:
        """Call a function once no recorded step is left to read."""
        self._when_live.append(function)

    def step(self, key: StepKey) -> StepRow | None:
        """Return the step's row, if it has one."""
        self._unread.discard(key)
        if not self._unread:
            waiting, self._when_live = self._when_live, []
            for function in waiting:
                function()
        return self.history.steps.get(key) if self._rules.replay else None

    def wait(self, key: StepKey) -> WaitRow | None:
        """Return the wait's row, if it has one."""
        return self.history.waits.get(key)

    def call(self, key: StepKey) -> CallRow | None:
        """Return the newest attempt of a tool's call, if one was begun."""
        return self.history.calls.get(key)
