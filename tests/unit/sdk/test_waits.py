"""A run may wait for more than its object has room for: it parks, and wakes, all the same."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from pinfleet.agent import Agent
from pinfleet.context import Ctx
from pinfleet.identity import StepKey, wait_id
from pinfleet.wire import WAIT_ID_LIMIT, WAITS_LIMIT
from tests.unit.sdk.conftest import MakePod
from tests.unit.sdk.inline_pod import offer

KEYS = st.builds(StepKey, st.text(max_size=700), st.just("ctx.sleep"), st.integers(1, 9))


def crowded(count: int) -> tuple[Agent, list[int]]:
    """Return an agent that sleeps so often side by side, the last one for the shortest time; and who woke."""
    agent, woke = Agent("a"), list[int]()

    @agent.main
    async def main(ctx: Ctx) -> int:
        async def one(n: int) -> None:
            await ctx.sleep(timedelta(hours=count - n))
            woke.append(n)

        return len(await ctx.map(one, range(count)))

    return agent, woke


async def test_of_many_waits_those_that_are_due_first_are_listed(make_pod: MakePod) -> None:
    """The others stay in the journal and are listed once those have fired; none is lost."""
    agent, woke = crowded(300)
    pod = make_pod(agent)
    await pod.offer("r1", offer(1))
    first = (await pod.until("r1", "parked")).waiting_for
    assert len(first) == WAITS_LIMIT
    assert {wait.id for wait in first} == {f"map1/{n}/ctx.sleep#1" for n in range(300 - WAITS_LIMIT, 300)}
    await pod.ack("r1")
    await pod.until_empty()

    await pod.offer("r1", offer(2, timers_fired=tuple(wait.id for wait in first)))
    second = (await pod.until("r1", "parked")).waiting_for
    assert {wait.id for wait in second} == {f"map1/{n}/ctx.sleep#1" for n in range(300 - WAITS_LIMIT)}
    await pod.ack("r1", 2)
    await pod.until_empty()

    await pod.offer("r1", offer(3, timers_fired=tuple(wait.id for wait in second)))
    await pod.until("r1", "succeeded")
    assert set(woke) == set(range(300))


async def test_a_long_name_of_a_branch_keeps_no_run_from_parking(make_pod: MakePod) -> None:
    """Its wait's id fits the object, differs from its neighbour's, and is the same on the pod that wakes it."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx) -> str:
        async def one(end: str) -> None:
            with ctx.branch("x" * 600 + end):
                await ctx.sleep(3600)

        await ctx.map(one, ["a", "b"])
        return "done"

    first, second = make_pod(agent), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(1))
    ids = [wait.id for wait in (await first.until("r1", "parked")).waiting_for]
    assert [len(each) for each in ids] == [WAIT_ID_LIMIT, WAIT_ID_LIMIT]
    assert len(set(ids)) == 2
    await first.ack("r1")
    await first.until_empty()
    await second.offer("r1", offer(2, timers_fired=tuple(ids)))
    await second.until("r1", "succeeded")


@given(KEYS, KEYS)
def test_ids_of_different_waits_differ(one: StepKey, other: StepKey) -> None:
    """However long the names of scopes are; a short one stays readable."""
    assert (wait_id(one) == wait_id(other)) is (str(one) == str(other))
    assert len(wait_id(one)) <= WAIT_ID_LIMIT
    assert wait_id(one) == str(one) or len(str(one)) > WAIT_ID_LIMIT
