"""What a run leaves behind on its way: a new segment that begins without the old history, and a partial result."""

from typing import TYPE_CHECKING

from pinfleet import values
from pinfleet.ending import RESULT_LIMIT, shown
from pinfleet.errors import BadInput, NotStorable, ResultTooLarge
from pinfleet.journal.interface import Batch
from pinfleet.record import Earlier
from pinfleet.stepping import place_of, value_row

if TYPE_CHECKING:
    from pinfleet.runtime import Execution

_RESTART = "ctx.restart"


async def restart(run: "Execution", state: object) -> None:
    """Commit what the next segment needs, and stop this one; see ``Ctx.restart``.

    Raises:
        BadInput: It is no input of the agent's main.
    """
    position = place_of(run, _RESTART)
    await run.gate(position)
    text = values.encode(state, _RESTART, field="state")
    try:
        values.decode(text, run.agent.input_type, _RESTART, field="state")
    except NotStorable as err:
        raise BadInput(f"ctx.restart(state) becomes main's input: {err.message}") from err
    unknown = tuple((tool, arguments.decode(), said) for (tool, arguments), said in run.record.unknown.items())
    row = value_row(run, run.identities.next(position.scope, _RESTART), text)
    earlier = Earlier(
        input=text,
        counts=tuple(run.identities.counts()),
        unknown=unknown,
        messages=tuple(run.inbox.known),
        messages_seen=run.inbox.seen.messages,
    )
    await run.restart(Batch(steps=(row,), restart=earlier.text()))


def keep_partial(run: "Execution", value: object) -> None:
    """Keep a partial result for the next commit; see ``Ctx.partial``.

    Raises:
        NotStorable: It is not JSON.
        ResultTooLarge: A run object could not hold it.
    """
    run.handle.require_open()
    text = shown(values.encode(value, "ctx.partial", tagged=False), "partial result")
    if len(text) > RESULT_LIMIT:
        raise ResultTooLarge(f"the partial result is {len(text)} bytes of JSON, over {RESULT_LIMIT}")
    run.partial = text
    run.handle.later_all(Batch(partial=text))
