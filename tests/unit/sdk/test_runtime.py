"""Runs executed in a pod without sockets: replay, bounds, stops, waits."""
# ruff: noqa: ASYNC110 - what is waited for happens in other threads, or has no event of its own

import asyncio
import sqlite3
import threading
import time
from datetime import timedelta
from typing import Any

import pytest

import pinfleet
from pinfleet import clock
from pinfleet.agent import Agent
from pinfleet.context import Ctx
from pinfleet.errors import Fenced, Parked, StepFailed
from pinfleet.journal.interface import Batch, Claim, End, Owner
from pinfleet.rules import without
from pinfleet.wire import RunListing
from tests.unit.sdk.conftest import MakePod
from tests.unit.sdk.inline_pod import InlinePod, offer


def counting(agent: Agent) -> tuple[Any, list[int]]:
    """Give an agent a step that notes its executions."""
    ran: list[int] = []

    @agent.step
    async def note(n: int) -> int:
        ran.append(n)
        return n * 10

    return note, ran


async def recorded(pod: InlinePod, steps: int) -> None:
    """Wait until run r1 has so many steps in the journal."""
    async with asyncio.timeout(10):
        while pod.worker.submit(lambda journal: len(journal.load("r1").steps)).result() < steps:
            await asyncio.sleep(0)


async def waits(pod: InlinePod) -> RunListing:
    """Wait until run r1 says what it waits for."""
    async with asyncio.timeout(10):
        while not (listed := pod.listing("r1")) or not listed.waiting_for:
            await asyncio.sleep(0.001)
    return listed


async def executing(pod: InlinePod) -> None:
    """Wait until the code of a run has begun."""
    async with asyncio.timeout(10):
        while not any(run.waiting.tasks for run in pod.driver._runner._executions.values()):
            await asyncio.sleep(0)
    await asyncio.sleep(0)  # the root runs up to its first await


async def test_result(make_pod: MakePod) -> None:
    """A run returns what main returns."""
    agent = Agent("a")
    note, ran = counting(agent)

    @agent.main
    async def main(ctx: Ctx, given: dict[str, int]) -> list[int]:
        return [await note(given["n"]), await note(2)]

    assert await make_pod(agent).result_of("r1", {"n": 1}) == [10, 20]
    assert ran == [1, 2]


def resuming(stop_at: int) -> tuple[Agent, list[int], asyncio.Event]:
    """Return an agent of five steps that blocks before one of them until told."""
    agent = Agent("a")
    note, ran = counting(agent)
    go = asyncio.Event()

    @agent.main
    async def main(ctx: Ctx) -> list[int]:
        values = []
        for n in range(1, 6):
            if n == stop_at:
                await go.wait()
            values.append(await note(n))
        return values

    return agent, ran, go


async def resumed(make_pod: MakePod, **settings: Any) -> list[int]:
    """Lose a pod after two steps, execute on another, and return what ran."""
    agent, ran, go = resuming(3)
    first, second = make_pod(agent, uid="pod-1", **settings), make_pod(agent, uid="pod-2", **settings)
    await first.offer("r1", offer(1))
    await recorded(first, 2)
    await second.offer("r1", offer(2))
    go.set()
    await second.until("r1", "succeeded")
    first.drain()
    return ran


async def test_recorded_step_never_runs_again(make_pod: MakePod) -> None:
    """A recorded step is read on another pod, and what was not recorded runs there."""
    ran = await resumed(make_pod)
    assert ran.count(1) == ran.count(2) == 1


async def test_recorded_step_without_replay(make_pod: MakePod) -> None:
    """Negative control: without replay, recorded steps run again."""
    ran = await resumed(make_pod, rules=without("replay"))
    assert (ran.count(1), ran.count(2)) == (2, 2)


async def test_stale_owner_is_fenced(make_pod: MakePod) -> None:
    """The pod that lost a run hears it at its next commit, and lists the journal's epoch (rule 13)."""
    agent, _, go = resuming(3)
    first, second = make_pod(agent, uid="pod-1"), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(1))
    await first.until("r1", "running")
    await second.offer("r1", offer(5))
    go.set()
    fenced = await first.until("r1", "fenced")
    assert (fenced.epoch, fenced.journal_epoch) == (1, 5)
    await second.until("r1", "succeeded")


async def test_fenced_without_the_journals_epoch(make_pod: MakePod) -> None:
    """Negative control: without rule 13 the operator does not learn the journal's epoch."""
    agent, _, go = resuming(3)
    rules = without("journal-epoch")
    first, second = make_pod(agent, uid="pod-1", rules=rules), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(1))
    await second.offer("r1", offer(5))
    go.set()
    assert (await first.until("r1", "fenced")).journal_epoch is None


@pytest.mark.parametrize("is_replay", [False, True])
async def test_failure_is_the_same_on_replay(make_pod: MakePod, *, is_replay: bool) -> None:
    """A step's failure is recorded: StepFailed with type and message, live and on replay."""
    agent = Agent("a")
    go = asyncio.Event()
    ran: list[int] = []

    @agent.step
    def breaks() -> None:
        ran.append(1)
        raise KeyError("no such order")

    @agent.main
    async def main(ctx: Ctx) -> list[str]:
        try:
            await breaks()
        except StepFailed as err:
            if is_replay:
                await go.wait()
            return [err.type, err.message]
        return []

    first, second = make_pod(agent), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(1))
    if is_replay:
        await recorded(first, 1)
        await second.offer("r1", offer(2))
        go.set()
    listed = await (second if is_replay else first).until("r1", "succeeded")
    assert listed.outcome is not None
    assert (bytes(listed.outcome.result), ran) == (b'["KeyError","\'no such order\'"]', [1])
    first.drain()


@pytest.mark.parametrize(
    ("raised", "kind"),
    [(SystemExit(3), "SystemExit"), (KeyboardInterrupt(), "KeyboardInterrupt"), (ValueError("x"), "ValueError")],
)
@pytest.mark.parametrize("where", ["sync step", "async step", "main", "child"])
async def test_what_code_raises_ends_its_run_alone(
    make_pod: MakePod, raised: BaseException, kind: str, where: str
) -> None:
    """SystemExit and its like end the run as failed, never the pod."""
    agent = Agent("a")

    @agent.step
    def sync_step() -> None:
        raise raised

    @agent.step
    async def async_step() -> None:
        raise raised

    async def child() -> None:
        raise raised

    @agent.main
    async def main(ctx: Ctx) -> None:
        if where == "sync step":
            await sync_step()
        elif where == "async step":
            await async_step()
        elif where == "child":
            await ctx.gather(child())
        raise raised

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    listed = await pod.until("r1", "failed")
    assert listed.outcome is not None
    assert listed.outcome.error is not None
    assert listed.outcome.error.type == kind


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


def looping() -> Agent:
    """Return an agent whose code goes on for ever, awaiting."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx) -> str:
        await asyncio.Event().wait()
        return "never"

    return agent


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


async def test_cancel(make_pod: MakePod) -> None:
    """Cancelled code stops, and the cancel is in the journal."""
    pod = make_pod(looping())
    await pod.offer("r1", offer())
    await pod.delete("r1")
    listed = await pod.until("r1", "cancelled")
    assert listed.outcome is None
    await pod.ack("r1")
    await pod.until_empty()
    again = make_pod(looping(), uid="pod-2")
    await again.offer("r1", offer(2))
    await again.until("r1", "cancelled")


async def test_swallowed_cancel(make_pod: MakePod) -> None:
    """What code returns after it swallowed its cancel is ignored."""
    agent = Agent("a")
    note, ran = counting(agent)
    seen: list[str] = []

    @agent.main
    async def main(ctx: Ctx) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            try:
                await note(1)
            except BaseException as err:  # noqa: BLE001 - what a stubborn author writes
                seen.append(type(err).__name__)
        return "swallowed"

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    await executing(pod)
    await pod.delete("r1")
    await pod.until("r1", "cancelled")
    assert (ran, seen) == ([], ["Fenced"])


async def test_code_that_does_not_stop(make_pod: MakePod) -> None:
    """Rule 10: after the grace the pod commits the end itself and lists it; the slot is held until the code stops."""
    agent = Agent("a")
    release = asyncio.Event()

    @agent.main
    async def main(ctx: Ctx) -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    pod = make_pod(agent, capacity=1)
    await pod.offer("r1", offer())
    await executing(pod)
    await pod.delete("r1")
    pod.tick(31)
    await pod.until("r1", "cancelled")
    await pod.ack("r1")
    assert pod.machine.state(0, "").capacity == 0
    assert (await pod.offer("r2", offer())).status == 429
    release.set()
    await pod.until_empty()
    assert (await pod.offer("r2", offer())).status == 202
    pod.drain()


async def test_without_the_grace(make_pod: MakePod) -> None:
    """Negative control: without rule 10 the run stays Running while its code does not stop."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx) -> None:
        cancels = 0
        while cancels < 2:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                cancels += 1

    pod = make_pod(agent, rules=without("cancel-grace"))
    await pod.offer("r1", offer())
    await executing(pod)
    await pod.delete("r1")
    pod.tick(1_000)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pod.until("r1", "cancelled"), 0.3)


async def test_sync_step_that_does_not_return(make_pod: MakePod) -> None:
    """A cancelled run whose thread goes on is listed at once; its slot is held until the thread ends."""
    agent = Agent("a")
    began, release = threading.Event(), threading.Event()

    @agent.step
    def hangs() -> None:
        began.set()
        release.wait()

    @agent.main
    async def main(ctx: Ctx) -> None:
        await hangs()

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    await asyncio.to_thread(began.wait)
    await pod.delete("r1")
    await pod.until("r1", "cancelled")
    await pod.ack("r1")
    assert not pod.machine.is_empty
    release.set()
    await pod.until_empty()


async def test_compensation(make_pod: MakePod) -> None:
    """on_cancel runs once the cancel is recorded, last one first; a failing one does not stop the others."""
    agent = Agent("a")
    undone: list[str] = []

    @agent.main
    async def main(ctx: Ctx) -> None:
        async def undo(what: str) -> None:
            undone.append(what)
            if what == "b":
                raise ValueError(what)

        for what in "abc":
            ctx.on_cancel(lambda what=what: undo(what))  # type: ignore[misc]
        await asyncio.Event().wait()

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    await executing(pod)
    await pod.delete("r1")
    await pod.until("r1", "cancelled")
    await pod.ack("r1")
    await pod.until_empty()
    assert undone == ["c", "b", "a"]


async def test_drain_at_a_step_boundary(make_pod: MakePod) -> None:
    """A drained run finishes the step that it is in, records it, and begins no other."""
    agent = Agent("a")
    ran: list[int] = []
    began, finish = asyncio.Event(), asyncio.Event()

    @agent.step
    async def slow(n: int) -> None:
        ran.append(n)
        began.set()
        await finish.wait()

    @agent.main
    async def main(ctx: Ctx) -> None:
        await slow(1)
        await slow(2)

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    await began.wait()
    pod.drain()
    finish.set()
    listed = await pod.until("r1", "drained")
    assert (listed.steps, ran) == (1, [1])


async def test_superseded_records_no_outcome(make_pod: MakePod) -> None:
    """A superseded execution is listed as drained, and the run goes on elsewhere."""
    pod = make_pod(looping())
    await pod.offer("r1", offer())
    await pod.delete("r1", reason="superseded")
    await pod.until("r1", "drained")
    other = make_pod(looping(), uid="pod-2")
    await other.offer("r1", offer(2))
    await other.until("r1", "running")
    other.drain()


def sleeping(seconds: float) -> tuple[Agent, list[int]]:
    """Return an agent that takes a step, sleeps, and takes another."""
    agent = Agent("a")
    note, ran = counting(agent)

    @agent.main
    async def main(ctx: Ctx) -> str:
        await note(1)
        await ctx.sleep(timedelta(seconds=seconds))
        await note(2)
        return "done"

    return agent, ran


async def test_park_and_wake_by_the_offer(make_pod: MakePod) -> None:
    """Rule 15: a parked run wakes on another pod by the timer that the offer names, whatever this clock says."""
    agent, ran = sleeping(3600)
    first, second = make_pod(agent), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(1))
    (timer,) = (await first.until("r1", "parked")).waiting_for
    assert (timer.kind, timer.name) == ("Timer", "ctx.sleep")
    await first.ack("r1")
    await first.until_empty()
    await second.offer("r1", offer(2, timers_fired=(timer.id,)))
    await second.until("r1", "succeeded")
    assert ran == [1, 2]


async def test_wake_without_rule_15(make_pod: MakePod) -> None:
    """Negative control: by its own clock alone the run finds the timer not due and parks again."""
    agent, _ = sleeping(3600)
    first, second = make_pod(agent), make_pod(agent, uid="pod-2", rules=without("timers-fired"))
    await first.offer("r1", offer(1))
    (timer,) = (await first.until("r1", "parked")).waiting_for
    await second.offer("r1", offer(2, timers_fired=(timer.id,)))
    await second.until("r1", "parked")


async def test_wake_by_its_own_clock(make_pod: MakePod, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer that this clock has passed fires without being named."""
    agent, ran = sleeping(3600)
    first = make_pod(agent)
    await first.offer("r1", offer(1))
    await first.until("r1", "parked")
    real = clock.now
    later = timedelta(hours=2)
    monkeypatch.setattr(clock, "now", lambda: clock.Moment(real().wall + later, real().monotonic))
    second = make_pod(agent, uid="pod-2")
    await second.offer("r1", offer(2))
    await second.until("r1", "succeeded")
    assert ran == [1, 2]


async def test_fired_timer_stays_fired(make_pod: MakePod) -> None:
    """A timer that fired by the offer is recorded with the next step: the next pod does not wait for it again."""
    agent = Agent("a")
    note, _ = counting(agent)

    @agent.main
    async def main(ctx: Ctx) -> str:
        await ctx.sleep(3600)
        await note(1)
        await ctx.sleep(7200)
        return "done"

    pods = [make_pod(agent, uid=f"pod-{n}") for n in range(3)]
    await pods[0].offer("r1", offer(1))
    (one,) = (await pods[0].until("r1", "parked")).waiting_for
    await pods[1].offer("r1", offer(2, timers_fired=(one.id,)))
    (two,) = (await pods[1].until("r1", "parked")).waiting_for
    await pods[2].offer("r1", offer(3, timers_fired=(two.id,)))
    await pods[2].until("r1", "succeeded")


async def test_short_sleep_stays_warm(make_pod: MakePod) -> None:
    """A wait shorter than the parking threshold keeps its pod, and is told."""
    agent, ran = sleeping(0.2)
    pod = make_pod(agent)
    await pod.offer("r1", offer())
    await pod.until("r1", "succeeded")
    assert ran == [1, 2]


async def test_warm_wait_fires_by_the_same_epoch(make_pod: MakePod) -> None:
    """The same epoch offered again updates a live run: its timer fires."""
    agent, _ = sleeping(9)
    pod = make_pod(agent)
    await pod.offer("r1", offer())
    listed = await waits(pod)
    await pod.offer("r1", offer(timers_fired=(listed.waiting_for[0].id,)))
    await pod.until("r1", "succeeded")


async def test_swallowed_park(make_pod: MakePod) -> None:
    """Code that catches everything cannot keep a parked run: what it does afterwards is refused and ignored."""
    agent = Agent("a")
    note, ran = counting(agent)
    seen: list[str] = []

    @agent.main
    async def main(ctx: Ctx) -> str:
        try:
            await ctx.sleep(3600)
        except BaseException:  # noqa: BLE001 - what a framework does
            try:
                await note(1)
            except Exception:  # noqa: BLE001
                seen.append("an Exception")
            except BaseException as err:  # noqa: BLE001
                seen.append(type(err).__name__)
        return "swallowed"

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    await pod.until("r1", "parked")
    await pod.ack("r1")
    await pod.until_empty()
    assert (ran, seen) == ([], ["Parked"])


async def test_parks_only_when_all_wait(make_pod: MakePod) -> None:
    """A run parks once the root and all children wait; one that works keeps the pod."""
    agent = Agent("a")
    finish = asyncio.Event()

    @agent.step
    async def work() -> None:
        await finish.wait()

    async def worker(ctx: Ctx) -> None:
        await work()
        await ctx.sleep(7200)

    @agent.main
    async def main(ctx: Ctx) -> None:
        await ctx.gather(ctx.sleep(3600), worker(ctx))

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    listed = await waits(pod)
    assert listed.state == "running"
    finish.set()
    listed = await pod.until("r1", "parked")
    assert [wait.id for wait in listed.waiting_for] == ["gather1/0/ctx.sleep#1", "gather1/1/ctx.sleep#1"]


async def test_code_of_its_own_keeps_the_pod(make_pod: MakePod) -> None:
    """A wait inside a bare TaskGroup is not known to be all: the run stays, and says Code."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.sleep(3600))

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    listed = await pod.changed(lambda run: any(wait.kind == "Code" for wait in run.waiting_for), "r1")
    assert (listed.state, [wait.kind for wait in listed.waiting_for]) == ("running", ["Timer", "Code"])
    pod.drain()
    await pod.until("r1", "drained")


async def test_detached_task_holds_the_slot(make_pod: MakePod) -> None:
    """A task that outlives its run holds the slot until it ends."""
    agent = Agent("a")
    release = asyncio.Event()
    kept: list[asyncio.Task[Any]] = []

    @agent.main
    async def main(ctx: Ctx) -> str:
        kept.append(asyncio.create_task(release.wait(), name="left over"))
        return "done"

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    await pod.until("r1", "succeeded")
    await pod.ack("r1")
    assert not pod.machine.is_empty
    release.set()
    await pod.until_empty()


async def test_recorded_values(make_pod: MakePod) -> None:
    """The time, random numbers and uuids are the same on every execution once a step has followed."""
    agent = Agent("a")
    note, _ = counting(agent)
    seen: list[tuple[Any, ...]] = []

    @agent.main
    async def main(ctx: Ctx) -> None:
        seen.append((ctx.now(), ctx.random(), ctx.uuid(), ctx.uuid()))
        await note(1)
        await ctx.sleep(3600)

    first, second = make_pod(agent), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(1))
    assert (await first.until("r1", "parked")).steps == 1
    await second.offer("r1", offer(2))
    await second.until("r1", "parked")
    assert seen[0] == seen[1]
    assert seen[0][2] != seen[0][3]


async def test_uuid_is_durable_before_a_step_uses_it(make_pod: MakePod) -> None:
    """A uuid that a step is given as a key is in the journal before the step begins."""
    agent = Agent("a")
    pods: list[InlinePod] = []

    @agent.step
    async def send(key: str) -> bool:
        rows = await asyncio.wrap_future(pods[0].worker.submit(lambda journal: journal.load("r1").steps))
        return any(key.encode() in row.result for row in rows.values())

    @agent.main
    async def main(ctx: Ctx) -> bool:
        return await send(str(ctx.uuid()))

    pods.append(make_pod(agent))
    assert await pods[0].result_of("r1") is True


async def test_children(make_pod: MakePod) -> None:
    """Children run side by side, each in its own scope; the first failed one by position is raised after all ended."""
    agent = Agent("a")
    both = asyncio.Barrier(2)
    ended: list[int] = []

    @agent.step
    async def meet(n: int) -> int:
        await both.wait()
        return n

    async def fail(n: int) -> None:
        for _ in range(3 - n):
            await asyncio.sleep(0)
        ended.append(n)
        raise ValueError(str(n))

    @agent.main
    async def main(ctx: Ctx) -> list[Any]:
        met = await ctx.gather(meet(1), meet(2))
        mapped = await ctx.map(meet, [3, 4], limit=2)
        try:
            await ctx.gather(fail(1), fail(2))
        except ValueError as err:
            return [*met, *mapped, str(err), ended]
        return []

    assert await make_pod(agent).result_of("r1") == [1, 2, 3, 4, "1", [2, 1]]


async def test_overlap_is_ambiguous(make_pod: MakePod) -> None:
    """Two calls of one name that overlap in one scope are refused; in branches they are not."""
    agent = Agent("a")
    both = asyncio.Barrier(2)

    @agent.step
    async def meet() -> None:
        await both.wait()

    async def apart(ctx: Ctx, key: str) -> None:
        with ctx.branch(key):
            await meet()

    @agent.main
    async def main(ctx: Ctx, is_apart: bool) -> str:  # noqa: FBT001 - a run's input
        if is_apart:
            await asyncio.gather(apart(ctx, "a"), apart(ctx, "b"))
        else:
            await asyncio.gather(meet(), meet())
        return "met"

    pod = make_pod(agent)
    assert await pod.result_of("r1", given=True) == "met"
    await pod.offer("r2", offer(given=False))
    listed = await pod.until("r2", "failed")
    assert listed.outcome is not None
    assert listed.outcome.error is not None
    assert listed.outcome.error.type == "AmbiguousStep"
    assert "'meet'" in listed.outcome.error.message


async def test_nested_step(make_pod: MakePod) -> None:
    """A step inside a step is refused, also from a sync step's thread."""
    agent = Agent("a")
    note, _ = counting(agent)

    @agent.step
    async def outer() -> None:
        await note(1)

    @agent.main
    async def main(ctx: Ctx) -> None:
        await outer()

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    listed = await pod.until("r1", "failed")
    assert listed.outcome is not None
    assert listed.outcome.error is not None
    assert listed.outcome.error.type == "NestedStep"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("x" * 16_383, "ResultTooLarge"),
        (object(), "NotStorable"),
        (float("nan"), "NotStorable"),
        ({1: 2}, "NotStorable"),
        ("\ud800", "NotStorable"),
    ],
)
@pytest.mark.case("runs: a result too large", "runs: a result that is not JSON")
async def test_result_that_cannot_be_held(make_pod: MakePod, value: object, kind: str) -> None:
    """A result that is too large or not JSON fails the run, saying which."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx) -> object:
        return value

    pod = make_pod(agent)
    await pod.offer("r1", offer())
    listed = await pod.until("r1", "failed")
    assert listed.outcome is not None
    assert listed.outcome.error is not None
    assert listed.outcome.error.type == kind


async def test_step_result_that_cannot_be_held(make_pod: MakePod) -> None:
    """A step's result that cannot be stored fails the step, naming step and field."""
    agent = Agent("a")

    @agent.step
    async def bad() -> dict[str, object]:
        return {"items": [1, {"price": float("inf")}]}

    @agent.main
    async def main(ctx: Ctx) -> list[str]:
        try:
            await bad()
        except pinfleet.NotStorable as err:
            return [err.step, err.field]
        return []

    assert await make_pod(agent).result_of("r1") == ["bad", "result.items[1].price"]


@pytest.mark.parametrize("given", [{"n": "one"}, [1], None])
@pytest.mark.case("manifest: an input of the wrong type")
async def test_input_that_does_not_fit(make_pod: MakePod, given: object) -> None:
    """An input that main does not declare fails the run, and no code of it runs."""
    agent = Agent("a")

    @agent.main
    async def main(ctx: Ctx, given: dict[str, int]) -> None:
        raise AssertionError

    pod = make_pod(agent)
    await pod.offer("r1", offer(given=given))
    listed = await pod.until("r1", "failed")
    assert listed.outcome is not None
    assert listed.outcome.error is not None
    assert listed.outcome.error.type == "BadInput"


async def test_adopted_without_a_restart(make_pod: MakePod) -> None:
    """A higher epoch of a run that the pod holds is claimed, and the live code goes on under it."""
    agent, ran, go = resuming(3)
    pod = make_pod(agent)
    await pod.offer("r1", offer(1))
    await recorded(pod, 2)
    await pod.offer("r1", offer(4))
    go.set()
    listed = await pod.until("r1", "succeeded")
    assert (listed.epoch, ran) == (4, [1, 2, 3, 4, 5])


async def test_not_adopted_after_another_had_it(make_pod: MakePod) -> None:
    """Live code that lost the run in between is stopped, and new code replays what the other recorded."""
    agent, ran, go = resuming(3)
    pod = make_pod(agent)
    await pod.offer("r1", offer(1))
    await recorded(pod, 2)
    now = clock.now().wall
    other = Claim(run="r1", name="run", epoch=2, boot="other", pod="pod-9", version="v1", schema=1, now=now)
    pod.worker.submit(lambda journal: journal.claim(other)).result()
    await pod.offer("r1", offer(3))
    go.set()
    listed = await pod.until("r1", "succeeded")
    assert (listed.epoch, listed.steps, ran) == (3, 5, [1, 2, 3, 4, 5])


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


@pytest.mark.case("runs: no journal in the middle of a step or at its commit")
async def test_journal_down_at_a_commit(make_pod: MakePod, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step whose commit finds the database down is committed when it is back, and does not run again."""
    agent, ran, go = resuming(2)
    pod = make_pod(agent)
    await pod.offer("r1", offer())
    await recorded(pod, 1)
    path = pod.worker._writer._journal._path  # type: ignore[attr-defined]
    blocker = await asyncio.to_thread(sqlite3.connect, path, isolation_level=None, check_same_thread=False)
    blocker.execute("BEGIN IMMEDIATE")
    go.set()
    assert (await pod.offer("r9", offer())).status == 503
    blocker.execute("ROLLBACK")
    blocker.close()
    assert (await pod.until("r1", "succeeded")).steps == 5
    assert ran == [1, 2, 3, 4, 5]


async def test_end_by_the_pod_itself_fences_the_code(make_pod: MakePod) -> None:
    """Once the pod has committed the end, the code's commits are refused, at its own epoch."""
    agent, _, go = resuming(3)
    pod = make_pod(agent)
    await pod.offer("r1", offer())
    end = Batch(end=End("cancelled", b"{}"))
    result = pod.worker.submit(lambda j: j.commit(Owner("r1", 1), end, max_steps=0, now=clock.now().wall)).result()
    assert result.status == "committed"
    go.set()
    async with asyncio.timeout(10):
        while pod.driver._runner._executions:
            await asyncio.sleep(0.001)
    assert pod.worker.submit(lambda j: len(j.load("r1").steps)).result() <= 2


async def test_replay_is_quick(make_pod: MakePod) -> None:
    """A thousand recorded steps are replayed in well under a second."""
    agent = Agent("a")
    note, _ = counting(agent)
    took: list[float] = []

    @agent.main
    async def main(ctx: Ctx) -> None:
        began = time.perf_counter()
        with ctx.branch("many"):
            for n in range(300):
                await note(n)
        took.append(time.perf_counter() - began)
        assert not ctx.replaying
        await ctx.sleep(3600)

    first, second = make_pod(agent), make_pod(agent, uid="pod-2")
    await first.offer("r1", offer(max_steps=1_000))
    await first.until("r1", "parked")
    await second.offer("r1", offer(2, max_steps=1_000))
    await second.until("r1", "parked")
    assert took[1] < 0.3


def test_stops_are_no_exceptions() -> None:
    """Parked and Fenced pass through ``except Exception``, which frameworks write."""
    assert not issubclass(Parked, Exception)
    assert not issubclass(Fenced, Exception)
