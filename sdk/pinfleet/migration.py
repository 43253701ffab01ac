"""``@agent.migration``: what an author says about runs that code of another schema recorded.

A migration is a plain function from what is recorded to what this code would have recorded. It changes values in
memory; whether they become the run's record is decided once all of them have run, in one transaction.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from pinfleet import values
from pinfleet.declared import StepSpec, plain_function
from pinfleet.errors import BadDeclaration, Incompatible, NotStorable, describe
from pinfleet.identity import ROOT, StepKey
from pinfleet.journal.interface import History, Migration, StepRow
from pinfleet.journal.rows import ASIDE
from pinfleet.record import earlier_of

Migrate = Callable[["RecordedRun"], None]

NAME: Final = "ctx.migration"
"""What the row is called that says that a migration ran."""


@dataclass(frozen=True)
class MigrationSpec:
    """A declared migration."""

    from_: int
    to: int
    function: Migrate

    @property
    def name(self) -> str:
        """For people."""
        return self.function.__name__


@dataclass(eq=False)
class RecordedStep:
    """A step or tool that a run has recorded; a migration may give it other arguments and another result."""

    scope: str  # path of the branches that it is in; "": main
    name: str
    n: int  # of its name and scope, from 1
    kind: str  # step, tool, or value for what ``ctx.now`` and its like recorded
    status: str  # ok, failed, or unknown
    arguments: dict[str, Any]  # by name; of long ones the hashes
    result: Any  # as plain JSON with its scalars; of one that is not ok its failure


@dataclass(eq=False)
class RecordedRun:
    """What a run has recorded, as a migration sees it and changes it."""

    uid: str
    name: str
    input: Any  # what main is given: the run's input, or what ``ctx.restart`` was given
    steps: list[RecordedStep] = field(default_factory=list)  # as they were recorded, since the last ctx.restart
    _used: frozenset[StepKey] = field(default=frozenset(), repr=False)  # the newest identities before that

    def named(self, name: str) -> list[RecordedStep]:
        """Return the steps of a name."""
        return [step for step in self.steps if step.name == name]

    def drop(self, step: RecordedStep) -> None:
        """Let this code not find a step; what a tool did stays done."""
        self.steps.remove(step)

    def add(self, name: str, result: object, *, arguments: dict[str, object] | None = None, scope: str = ROOT) -> None:
        """Record a step that this code has before others, and the former code had not.

        Args:
            name: Of the step; no tool: nobody can say afterwards that a call was made.
            result: What the run's code gets from it.
            arguments: What this code gives it.
            scope: Path of the branches that it is in.
        """
        used = [key.n for key in self._used if (key.scope, key.name) == (scope, name)]
        n = 1 + max([*used, *(step.n for step in self.named(name) if step.scope == scope)], default=0)
        self.steps.append(RecordedStep(scope, name, n, "step", "ok", dict(arguments or {}), result))


def declared(function: Migrate, from_: int, to: int, schema: int) -> MigrationSpec:
    """Check a migration at import.

    Raises:
        BadDeclaration: Says what to write.
    """
    checked = plain_function(function, "migration")
    said = f"migration {checked.__qualname__}"
    if inspect.iscoroutinefunction(checked):
        raise BadDeclaration(f"{said} must be a plain function; it changes what is recorded, and calls nothing")
    if len(inspect.signature(checked).parameters) != 1:
        raise BadDeclaration(f"{said} must take the recorded run alone: def {checked.__name__}(run: RecordedRun)")
    if not 0 < from_ < to <= schema:
        raise BadDeclaration(f"{said} goes from {from_} to {to}; it must go up, to at most Agent(schema={schema})")
    return MigrationSpec(from_, to, function)


def chain(specs: Sequence[MigrationSpec], schema: int, to: int) -> list[MigrationSpec]:
    """Return the migrations that lead from one schema to another, in order; none if they do not."""
    by_start = {spec.from_: spec for spec in specs}
    found: list[MigrationSpec] = []
    while schema != to:
        if schema not in by_start:
            return []
        found.append(by_start[schema])
        schema = found[-1].to
    return found


@dataclass(frozen=True, slots=True)
class Recorder:
    """Who migrates: what its rows say of it."""

    uid: str  # of the run
    name: str  # of the run
    given: bytes  # JSON of the run's input
    manifest: str
    now: datetime


def migrated(history: History, path: Sequence[MigrationSpec], steps: dict[str, StepSpec], by: Recorder) -> Migration:
    """Run migrations over what is recorded; nothing is stored here.

    Raises:
        Incompatible: One of them raised, or made what cannot be a record.
    """
    earlier = earlier_of(history.state)
    given = by.given if earlier.input is None else earlier.input
    try:
        run = RecordedRun(
            by.uid,
            by.name,
            values.decode(given, Any, "main", field="input"),
            _steps(history),
            frozenset(earlier.counts),
        )
        ran = [_ran(spec, run, by) for spec in path]
        state = values.encode(run.input, "main", field="input")
        changed, dropped = _changes(history, run, steps, by)
    except (NotStorable, TypeError, ValueError) as err:
        raise Incompatible(f"run {by.name} cannot be migrated: {': '.join(describe(err))}") from err
    is_same = state == values.encode(values.decode(given, Any, "main", field="input"), "main", field="input")
    return Migration(
        schema=path[0].from_,
        to=path[-1].to,
        ran=tuple(ran),
        replaced=tuple(row.key for row in changed if row.key in history.steps),
        dropped=tuple(dropped),
        steps=tuple(changed),
        state=None if is_same else replace(earlier, input=state).text(),
    )


def applied(history: History, migration: Migration) -> History:
    """Return what the journal holds once a migration is stored."""
    gone = set(migration.dropped)
    steps = {key: row for key, row in history.steps.items() if key not in gone}
    return replace(
        history,
        steps=steps | {row.key: row for row in migration.steps},
        calls={key: row for key, row in history.calls.items() if key not in gone},
        waits={key: row for key, row in history.waits.items() if key not in gone},
        state=history.state if migration.state is None else migration.state,
        schema=migration.to,
    )


def _steps(history: History) -> list[RecordedStep]:
    rows = sorted(history.steps.values(), key=lambda row: row.committed)
    return [
        RecordedStep(
            *row.key, row.kind, row.status,
            values.decode(row.arguments, Any, row.key.name, field="arguments"),
            values.decode(row.result, Any, row.key.name),
        )
        for row in rows
    ]  # fmt: skip


def _ran(spec: MigrationSpec, run: RecordedRun, by: Recorder) -> StepRow:
    """Run one; return the row that says so."""
    try:
        spec.function(run)
    except BaseException as err:
        said = ": ".join(describe(err))
        raise Incompatible(f"run {by.name}: migration {spec.name}, {spec.from_} to {spec.to}, failed: {said}") from err
    what = values.encode({"from": spec.from_, "to": spec.to, "function": spec.name}, NAME)
    return _row(StepKey(f"{ASIDE}{spec.from_}", NAME, 1), "value", what, b"null", by)


def _changes(
    history: History, run: RecordedRun, specs: dict[str, StepSpec], by: Recorder
) -> tuple[list[StepRow], list[StepKey]]:
    """Return the rows that differ from what was recorded, and what is no longer there."""
    changed, kept = [], set()
    for step in run.steps:
        key = StepKey(step.scope, step.name, step.n)
        kept.add(key)
        arguments = _arguments(step)
        result = values.encode(step.result, step.name)
        row = history.steps.get(key)
        if row is None:
            if key.name not in specs or specs[key.name].kind == "tool":
                raise ValueError(f"{key} was added, and this code has no step of that name; a tool cannot be added")
            changed.append(_row(key, "step", arguments, result, by))
        elif _differs(row, arguments, result):
            if row.status != "ok" and result != _again(row.result, step.name):
                raise ValueError(f"{key} is {row.status}; a migration gives it no other outcome")
            changed.append(replace(row, arguments=arguments, result=result))
    return changed, [key for key in history.steps if key not in kept]


def _differs(row: StepRow, arguments: bytes, result: bytes) -> bool:
    name = row.key.name
    return (arguments, result) != (_again(row.arguments, name), _again(row.result, name))


def _again(text: bytes, name: str) -> bytes:
    """Return a stored text as it is encoded now."""
    return values.encode(values.decode(text, Any, name), name)


def _arguments(step: RecordedStep) -> bytes:
    given: dict[str, object] = step.arguments
    if any(isinstance(value, values.Hashed) and value.tag == "sha256" for value in given.values()):
        given = {name: values.hashed(value, step.name, name) for name, value in given.items()}
        return values.encode(given, step.name, field="arguments")
    return values.arguments(given, step.name)


def _row(key: StepKey, kind: Any, arguments: bytes, result: bytes, by: Recorder) -> StepRow:
    return StepRow(
        key=key, kind=kind, status="ok", arguments=arguments, result=result, manifest=by.manifest, attempt=1,
        begun=by.now, committed=by.now,
    )  # fmt: skip
