"""Runs executed in a pod without sockets: their bounds hold, and their ends are committed before they are said."""

from typing import Any

from pinfleet import clock
from pinfleet.rules import without
from tests.unit.sdk.conftest import MakePod
from tests.unit.sdk.inline_pod import offer
from tests.unit.sdk.noted import looping, resuming


async def test_steps_are_bounded(make_pod: MakePod) -> None:
    """A run of more steps than it may take ends at the limit, and the step beyond it does not run."""
    agent, ran, go = resuming(9)
    go.set()
    pod = make_pod(agent)
    await pod.offer("r1", offer(max_steps=3))
    listed = await pod.until("r1", "limit")
    assert listed.outcome is not None
    assert (listed.outcome.limit, listed.steps, ran) == ("steps", 3, [1, 2, 3])


async def test_exactly_as_many_steps_as_allowed(make_pod: MakePod) -> None:
    """The last step that is allowed runs, and the run succeeds."""
    agent, _, go = resuming(9)
    go.set()
    pod = make_pod(agent)
    await pod.offer("r1", offer(max_steps=5))
    assert (await pod.until("r1", "succeeded")).steps == 5


async def test_active_seconds(make_pod: MakePod) -> None:
    """The pod ends a run whose active seconds are used up."""
    pod = make_pod(looping())
    await pod.offer("r1", offer(active_seconds_left=50.0))
    pod.tick(49)
    listed = pod.listing("r1")
    assert listed is not None
    assert listed.state == "running"
    pod.tick(51)
    ended = await pod.until("r1", "limit")
    assert ended.outcome is not None
    assert ended.outcome.limit == "active"


async def test_deadline(make_pod: MakePod) -> None:
    """The pod ends a run at its deadline."""
    pod = make_pod(looping())
    await pod.offer("r1", offer(deadline=clock.now().wall))
    pod.tick()
    listed = await pod.until("r1", "limit")
    assert listed.outcome is not None
    assert listed.outcome.limit == "deadline"


async def test_end_offered(make_pod: MakePod) -> None:
    """offer.end claims the run and ends it without executing it."""
    agent, ran, _ = resuming(9)
    pod = make_pod(agent)
    await pod.offer("r1", offer(3, end="deadline"))
    listed = await pod.until("r1", "limit")
    assert listed.outcome is not None
    assert (listed.outcome.limit, ran) == ("deadline", [])


async def test_ended_run_is_not_executed(make_pod: MakePod) -> None:
    """Rule 2: an offer of a run whose journal is terminal answers the recorded outcome and executes nothing."""
    agent, ran, _ = resuming(9)
    await make_pod(agent).result_of("r1")
    second = make_pod(agent, uid="pod-2")
    await second.offer("r1", offer(2))
    listed = await second.until("r1", "succeeded")
    assert (listed.epoch, listed.steps, len(ran)) == (2, 5, 5)


async def ended_then_lost(make_pod: MakePod, **settings: Any) -> int:
    """End a run, lose its report, and return how often its first step ran after another offer."""
    agent, ran, _ = resuming(9)
    first, second = make_pod(agent, **settings), make_pod(agent, uid="pod-2", rules=without("replay"))
    await first.result_of("r1")
    await second.offer("r1", offer(2))
    await second.until("r1", "succeeded")
    return ran.count(1)


async def test_end_is_committed_before_it_is_reported(make_pod: MakePod) -> None:
    """Rule 2: what a pod reports is in the journal already."""
    assert await ended_then_lost(make_pod) == 1


async def test_without_commit_before_report(make_pod: MakePod) -> None:
    """Negative control: an end that was only reported is executed again."""
    assert await ended_then_lost(make_pod, rules=without("commit-before-report")) == 2
