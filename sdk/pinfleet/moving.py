"""A run that other code recorded, of another version or schema: whether this code may have it, and how it gets it.

Called before anything of the run is executed. What the migrations made is rehearsed before it is stored: a record that
this code cannot go on with is never made, and the run keeps the one that it has.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from pinfleet import clock
from pinfleet.admission import Stop
from pinfleet.agent import Agent
from pinfleet.errors import Incompatible
from pinfleet.journal.handle import RunHandle
from pinfleet.journal.interface import History, Migration
from pinfleet.migration import MigrationSpec, Recorder, applied, chain, migrated
from pinfleet.rehearsal import Rehearsal, Verdict
from pinfleet.reports import Assignment

_T = TypeVar("_T")
_LOG: Final = logging.getLogger("pinfleet.run")


def path_to(agent: Agent, name: str, schema: int) -> list[MigrationSpec]:
    """Return the migrations that a run of a schema needs; none: it has the agent's own.

    Raises:
        Incompatible: No migration leads there; says what to write.
    """
    if schema in {0, agent.schema}:
        return []
    said = f"run {name} was recorded under schema {schema}; this code has {agent.schema}"
    if schema > agent.schema:
        raise Incompatible(f"{said}, an older one: it goes on with code of schema {schema}")
    found = chain(agent.migrations, schema, agent.schema)
    if not found:
        raise Incompatible(f"{said}. It stays with its code; to move it add @agent.migration(from_={schema}, to=...)")
    return found


async def rehearsed(agent: Agent, run: Assignment, history: History) -> tuple[Verdict, Migration | None]:
    """Say whether this code goes on with a run, and what must be stored before it may."""
    is_new = not (history.steps or history.calls or history.waits or history.state)
    if is_new and history.schema not in {0, agent.schema}:
        return Verdict("goes on", 0, "from its beginning"), Migration(schema=history.schema, to=agent.schema, ran=())
    try:
        path = path_to(agent, run.name, history.schema)
        if not path:
            return await _rehearsed(agent, run, history), None
        by = Recorder(run.uid, run.name, run.input, agent.manifest, clock.now().wall)
        migration = await _in_thread(lambda: migrated(history, path, agent.steps, by))
    except Incompatible as err:
        return Verdict("incompatible", 0, str(err)), None
    verdict = await _rehearsed(agent, run, applied(history, migration))
    said = f"from schema {migration.schema} to {migration.to} by {', '.join(spec.name for spec in path)}"
    if verdict.kind == "incompatible":
        return replace(verdict, why=f"migrated {said}, it still does not fit: {verdict.why}"), None
    return Verdict("migrates", verdict.read, f"{said}, then {verdict.kind} {verdict.why}"), migration


async def moved(agent: Agent, run: Assignment, handle: RunHandle, history: History, version: str) -> History | Stop:
    """Return the history that this code may execute, migrated and stored if need be; or why it may not.

    Args:
        agent: Whose code it is.
        run: What was offered.
        handle: The run's hold on the journal.
        history: What the journal holds.
        version: Of this code; once it has recorded a step of the run, nothing is asked again.
    """
    is_known = not history.steps or any(row.version == version for row in history.steps.values())
    if is_known and history.schema in {0, agent.schema}:
        return history
    verdict, migration = await rehearsed(agent, run, history)
    if verdict.kind == "incompatible":
        return Stop("incompatible", error=Incompatible(verdict.why))
    if migration is None:
        return history
    result = await handle.migrate(migration)
    if result.status != "committed":
        return Stop("fenced", fence=result)
    _LOG.info("run migrated", extra={"run": run.uid, "from_schema": migration.schema, "to_schema": migration.to})
    return applied(history, migration)


async def _rehearsed(agent: Agent, run: Assignment, history: History) -> Verdict:
    return await Rehearsal(agent, uid=run.uid, name=run.name, given=run.input, history=history).rehearse()


async def _in_thread(function: Callable[[], _T]) -> _T:
    """Call the author's functions where they hold nobody up."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def work() -> None:
        try:
            value = function()
        except BaseException as err:  # noqa: BLE001 - carried to who awaits
            loop.call_soon_threadsafe(future.set_exception, err)
        else:
            loop.call_soon_threadsafe(future.set_result, value)

    threading.Thread(target=work, name="pinfleet-migration", daemon=True).start()
    return await future
