"""The queue of the fleets' passes: what makes a fleet due, and what a failure costs."""

import asyncio
from itertools import pairwise

import pytest

from pinfleet_operator.api.child import decode_pod
from pinfleet_operator.api.fleet import FleetView
from pinfleet_operator.api.run import Limits, decode_run
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.errors import Bug, Conflict, Forbidden, NotLeader, Unavailable
from pinfleet_operator.plan.memory import FleetKey
from pinfleet_operator.reconcile import FleetQueue
from pinfleet_operator.store import Store
from tests.sim.api import encoded
from tests.sim.loop import run_virtual
from tests.unit.operator.bench import FLEET, KEY, NAMESPACE, Bench


def a_queue(once: object, store: Store | None = None, settings: Settings | None = None) -> FleetQueue:
    """A queue over a pass of the test's own."""
    return FleetQueue(store=store or Store(), settings=settings or Settings(), once=once)  # type: ignore[arg-type]


async def working(queue: FleetQueue, seconds: float) -> None:
    """Let the workers work for a while of virtual time."""
    task = asyncio.create_task(queue.work())
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.case("INV-18")
def test_a_failing_fleet_backs_off_alone() -> None:
    """INV-18: one fleet that always fails is tried ever more rarely and delays no other."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        tries: dict[str, list[float]] = {"bad": [], "good": []}

        async def once(key: FleetKey) -> float | None:
            tries[key[1]].append(loop.time())
            if key[1] == "bad":
                raise Forbidden("cannot")
            return 1.0

        queue = a_queue(once)
        queue.add(NAMESPACE, "bad")
        queue.add(NAMESPACE, "good")
        await working(queue, 61.5)
        gaps = [later - sooner for sooner, later in pairwise(tries["bad"])]
        assert gaps == pytest.approx(sorted(gaps))
        assert (len(tries["bad"]), len(tries["good"])) == (8, 62)

    run_virtual(main())


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("x"), TypeError("x"), Conflict("x"), Unavailable("x")])
@pytest.mark.case("INV-18")
def test_an_unforeseen_error_is_one_fleets_alone(error: Exception) -> None:
    """INV-18: an object that our code stumbles over stalls nothing else, and is looked at again."""

    async def main() -> None:
        async def once(_key: FleetKey) -> float | None:
            raise error

        fleets = a_queue(once)
        await fleets.pass_over(KEY)
        assert not fleets.queue.is_idle

    run_virtual(main())


@pytest.mark.parametrize("error", [Bug("x"), NotLeader("x")])
def test_a_worker_ends_where_going_on_would_do_harm(error: Exception) -> None:
    """A broken promise or a lost Lease ends the process."""

    async def main() -> None:
        async def once(_key: FleetKey) -> float | None:
            raise error

        with pytest.raises(type(error)):
            await a_queue(once).pass_over(KEY)

    run_virtual(main())


def test_the_servers_own_wish_is_heeded() -> None:
    """A 429 with Retry-After is tried again then, not before."""

    async def main() -> None:
        loop, tries = asyncio.get_running_loop(), []

        async def once(_key: FleetKey) -> float | None:
            tries.append(loop.time())
            if len(tries) == 1:
                raise Unavailable("slow down", retry_after_seconds=7)
            return None

        queue = a_queue(once)
        queue.add(*KEY)
        await working(queue, 20)
        assert tries == pytest.approx([0.0, 7.0], abs=0.01)

    run_virtual(main())


def test_a_quiet_fleet_is_looked_at_now_and_then() -> None:
    """A trigger that was lost delays a fleet by the resync time at most."""

    async def main() -> None:
        tries: list[float] = []

        async def once(_key: FleetKey) -> float | None:
            tries.append(asyncio.get_running_loop().time())
            return None

        queue = a_queue(once)
        queue.add(*KEY)
        await working(queue, 650)
        assert tries == pytest.approx([0.0, 300.0, 600.0], abs=0.01)

    run_virtual(main())


def a_view(active: str) -> FleetView:
    """A fleet as the run loop sees it."""
    limits = Limits(max_steps=1, active_seconds=1, deadline_seconds=1, max_attempts=1)
    return FleetView(NAMESPACE, FLEET, "uid", active, None, limits, 10, 60, 10, False, False, False, False)


def a_run(rv: int, version: str, phase: str, name: str = "r1") -> bytes:
    """A run's JSON."""
    return (
        f'{{"metadata":{{"uid":"{name}","namespace":"{NAMESPACE}","name":"{name}","resourceVersion":"{rv}",'
        f'"creationTimestamp":"2026-01-01T00:00:00Z"}},"spec":{{"task":{{"agentDeployment":"{FLEET}","input":1}}}},'
        f'"status":{{"phase":"{phase}","version":"{version}"}}}}'
    ).encode()


def test_counts_make_a_pass_every_two_seconds() -> None:
    """A thousand runs in a second are two passes, not a thousand."""

    async def main() -> None:
        tries: list[float] = []

        async def once(_key: FleetKey) -> float | None:
            tries.append(asyncio.get_running_loop().time())
            return None

        store = Store()
        store.set_fleet(a_view("v1"))
        queue = a_queue(once, store)
        queue.start()
        task = asyncio.create_task(queue.work())
        for rv in range(1, 1001):
            store.runs.upsert(decode_run(a_run(rv, "v1", "Running", f"r{rv}")), str(rv))
            await asyncio.sleep(0.001)
        await asyncio.sleep(5)
        task.cancel()
        assert tries == pytest.approx([0.0, 2.0], abs=0.01)

    run_virtual(main())


def test_the_end_of_a_draining_versions_last_run_makes_a_pass_at_once() -> None:
    """INV-7: retirement does not wait for the next count."""

    async def main() -> None:
        tries: list[float] = []

        async def once(_key: FleetKey) -> float | None:
            tries.append(asyncio.get_running_loop().time())
            return None

        store = Store()
        store.set_fleet(a_view("v2"))
        store.runs.upsert(decode_run(a_run(1, "v1", "Running")), "1")
        queue = a_queue(once, store)
        queue.start()
        task = asyncio.create_task(queue.work())
        store.runs.upsert(decode_run(a_run(2, "v2", "Running", "other")), "2")
        await asyncio.sleep(0.5)
        store.runs.upsert(decode_run(a_run(3, "v1", "Succeeded")), "3")
        await asyncio.sleep(0.1)
        task.cancel()
        assert tries == pytest.approx([0.0, 0.5], abs=0.01)

    run_virtual(main())


def test_a_new_leader_finds_orphans() -> None:
    """A version whose fleet is gone makes its pass due; nobody else would."""

    async def main() -> None:
        bench = Bench()
        bench.apply(version="v1")
        await bench.settle()
        bench.server.remove("agentdeployments", NAMESPACE, FLEET)
        queue = a_queue(None, bench.store)
        queue.start()
        assert await queue.queue.get() == KEY

    run_virtual(main())


def test_a_pod_that_was_heard_makes_its_fleet_due() -> None:
    """A candidate's first answer is what the switch waits for."""

    async def main() -> None:
        bench = Bench()
        bench.apply(version="v1")
        await bench.settle()
        pod = decode_pod(encoded(bench.server.all("pods")[0]))
        queue = a_queue(None)
        queue.pod_heard(pod)
        assert await queue.queue.get() == KEY

    run_virtual(main())


@pytest.mark.case("draining: a run is pinned while its version drains to zero")
def test_a_version_without_pods_gets_one_at_once() -> None:
    """A run that needs a slot makes a pass where there is no pod; where there is one, counts will."""

    async def main() -> None:
        bench, tries = Bench(), list[float]()
        bench.apply(version="v1")
        await bench.settle()
        began = asyncio.get_running_loop().time()

        async def once(_key: FleetKey) -> float | None:
            tries.append(asyncio.get_running_loop().time() - began)
            return None

        queue = a_queue(once, bench.store)
        queue.start()
        await working(queue, 5)
        bench.store.slot_wanted((NAMESPACE, FLEET, "v1"))
        await working(queue, 5)
        bench.server.remove("pods", NAMESPACE, bench.names("pods")[0])
        bench.deliver()
        await working(queue, 5)
        bench.store.slot_wanted((NAMESPACE, FLEET, "v1"))
        await working(queue, 5)
        assert tries == pytest.approx([0.0, 10.02, 15.0], abs=0.01)

    run_virtual(main())
