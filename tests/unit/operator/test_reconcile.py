"""The pass as a whole, on an API server in memory, and the queue that makes it."""

import asyncio
from datetime import datetime
from itertools import pairwise

import pytest
from tests.sim.api import encoded
from tests.sim.loop import run_virtual
from tests.unit.operator.bench import FLEET, KEY, NAMESPACE, Bench, template

from pinfleet_operator.api.child import decode_pod
from pinfleet_operator.api.fleet import FleetView
from pinfleet_operator.api.run import Limits, decode_run
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.errors import Bug, Conflict, Forbidden, NotLeader, Rejected, Unavailable
from pinfleet_operator.plan.memory import FleetKey
from pinfleet_operator.reconcile import FleetLoop, FleetQueue
from pinfleet_operator.store import Store


def test_a_fleet_is_rolled_out_drained_retired_and_deleted() -> None:
    """The life of a fleet, with a run that outlives its version's rollout."""

    async def main() -> None:
        bench = Bench()
        bench.apply(version="v1")
        await bench.settle()
        assert (bench.status()["activeVersion"], bench.names("pods")) == ("v1", ["support-v1-0"])
        bench.run("r1", "v1", pod="support-v1-0")
        bench.apply(version="v2", template=template("v2"))
        await bench.settle()
        assert bench.versions() == {"v2": "Active", "v1": "Draining"}
        bench.run("r1", "v1", "Succeeded")
        await bench.settle()
        assert (bench.versions(), bench.names("pods")) == ({"v2": "Active", "v1": "Retired"}, ["support-v2-0"])
        bench.delete_fleet()
        for _ in range(15):
            await bench.once()
            bench.kubelet()
        left = [bench.names(plural) for plural in ("agentdeployments", "agentversions", "pods", "secrets")]
        assert left == [[], [], [], []]
        assert bench.store.catalog == {}

    run_virtual(main())


def test_a_stable_fleet_is_written_no_more() -> None:
    """INV-8: passes over a fleet that stands as asked write nothing, also in a new process."""

    async def main() -> None:
        bench = Bench()
        bench.apply(version="v1", replicas=2)
        await bench.settle()
        bench.kube.log.clear()
        for _ in range(5):
            await bench.once()
            await asyncio.sleep(60)
        assert bench.kube.log == []
        mirrors = bench.store.mirrors()
        bench.restart()
        for mirror in mirrors:
            bench.store.set_mirror(mirror)
        await bench.once()
        assert bench.kube.log == []

    run_virtual(main())


@pytest.mark.parametrize("replicas", [1, 3])
def test_a_change_costs_few_writes(replicas: int) -> None:
    """INV-15: at most 12 writes for a change of a fleet and 2 for each pod."""

    async def main() -> None:
        bench = Bench()
        bench.apply(version="v1", replicas=replicas)
        await bench.settle()
        bench.kube.log.clear()
        bench.apply(version="v2", template=template("v2"), replicas=replicas)
        await bench.settle()
        assert bench.versions() == {"v2": "Active", "v1": "Retired"}
        assert len(bench.kube.log) <= 12 + 2 * 2 * replicas

    run_virtual(main())


@pytest.mark.parametrize("passes", range(1, 12))
def test_the_operator_may_die_after_any_pass(passes: int) -> None:
    """A rollout that another process takes over anywhere ends as it would have ended."""

    async def main() -> None:
        bench = Bench()
        bench.apply(version="v1")
        await bench.settle()
        bench.apply(version="v2", template=template("v2"))
        for _ in range(passes):
            await bench.once()
            bench.kubelet()
        mirrors = bench.store.mirrors()
        bench.restart()
        for mirror in mirrors:
            bench.store.set_mirror(mirror)
        await bench.settle()
        assert bench.versions() == {"v2": "Active", "v1": "Retired"}
        assert bench.names("pods") == ["support-v2-0"]

    run_virtual(main())


@pytest.mark.parametrize("place", range(12))
def test_any_lost_answer_is_made_up_for(place: int) -> None:
    """A write whose answer is lost is neither repeated blindly nor forgotten."""

    async def main() -> None:
        bench = Bench()
        count = iter(range(1000))
        bench.kube.lose_reply_of = lambda _v, _p: Unavailable("lost") if next(count) == place else None
        bench.apply(version="v1")
        for step in ("v1", "v2"):
            bench.apply(version=step, template=template(step))
            for _ in range(20):
                try:
                    await bench.once()
                except (Unavailable, Conflict):
                    await asyncio.sleep(5)
                bench.kubelet()
        assert bench.versions() == {"v2": "Active", "v1": "Retired"}
        assert (bench.names("pods"), bench.store.may_pin(KEY)) == (["support-v2-0"], True)

    run_virtual(main())


def test_a_bad_template_is_said_and_mended() -> None:
    """Accepted=False has the server's own words; the active version serves on, and a good spec clears it."""

    async def main() -> None:
        bench = Bench()
        bench.apply(version="v1")
        await bench.settle()
        bench.kube.refuse = lambda verb, _p: None if verb != "dry-run" else _rejected()
        bench.apply(version="v2", template=template("Bad Image"))
        await bench.settle()
        accepted, stalled = bench.condition("Accepted"), bench.condition("Stalled")
        assert accepted is not None
        assert stalled is not None
        assert (accepted["status"], accepted["reason"], stalled["reason"]) == ("False", *["InvalidTemplate"] * 2)
        assert "invalid reference format" in accepted["message"]
        assert bench.status()["activeVersion"] == "v1"
        bench.kube.refuse = lambda _v, _p: None
        bench.apply(version="v2", template=template("v2"))
        await bench.settle()
        assert (bench.status()["activeVersion"], bench.condition("Stalled")) == ("v2", None)

    run_virtual(main())


def _rejected() -> Exception:
    return Rejected("cannot create Pod prod/support-v2-0: spec.containers[0].image: invalid reference format")


def test_orphans_are_swept_without_their_fleet() -> None:
    """INV-9: a fleet deleted without its finalizer leaves nothing, and its runs are cancelled."""

    async def main() -> None:
        bench = Bench()
        bench.apply(version="v1")
        await bench.settle()
        bench.run("r1", "v1", pod="support-v1-0")
        bench.server.remove("agentdeployments", NAMESPACE, FLEET)
        for _ in range(3):
            await bench.once()
        assert bench.store.catalog[KEY].cancels_runs
        assert bench.names("pods") == ["support-v1-0"]
        bench.run("r1", "v1", "Cancelled")
        for _ in range(12):
            await bench.once()
            bench.kubelet()
        assert (bench.names("agentversions"), bench.names("pods"), bench.store.catalog) == ([], [], {})

    run_virtual(main())


# The queue


def a_queue(once: object, store: Store | None = None, settings: Settings | None = None) -> FleetQueue:
    """A queue over a pass of the test's own."""
    return FleetQueue(store=store or Store(), settings=settings or Settings(), once=once)  # type: ignore[arg-type]


async def working(queue: FleetQueue, seconds: float) -> None:
    """Let the workers work for a while of virtual time."""
    task = asyncio.create_task(queue.work())
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


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
        await working(queue, 61)
        gaps = [later - sooner for sooner, later in pairwise(tries["bad"])]
        assert gaps == sorted(gaps)
        assert (len(tries["bad"]), len(tries["good"])) == (8, 62)

    run_virtual(main())


@pytest.mark.parametrize("error", [KeyError("x"), ValueError("x"), TypeError("x"), Conflict("x"), Unavailable("x")])
def test_an_unforeseen_error_is_one_fleets_alone(error: Exception) -> None:
    """INV-18: an object that our code stumbles over stalls nothing else."""

    async def main() -> None:
        async def once(_key: FleetKey) -> float | None:
            raise error

        await a_queue(once).pass_over(KEY)

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
        assert tries == [0.0, 7.0]

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
        assert tries == [0.0, 300.0, 600.0]

    run_virtual(main())


def a_view(active: str) -> FleetView:
    """A fleet as the run loop sees it."""
    limits = Limits(max_steps=1, active_seconds=1, deadline_seconds=1, max_attempts=1)
    return FleetView(NAMESPACE, FLEET, "uid", active, None, limits, 10, 60, 10, False, False, False)


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


def test_a_new_leader_reads_every_fleet_and_finds_orphans() -> None:
    """Rule 4: each fleet is due, and so is each version whose fleet is gone."""

    async def main() -> None:
        bench = Bench()
        bench.apply(version="v1")
        await bench.settle()
        bench.server.create("agentdeployments", NAMESPACE, {"metadata": {"name": "other"}, "spec": {}})
        bench.server.remove("agentdeployments", NAMESPACE, FLEET)
        loop = FleetLoop(bench.store, bench.kube, _NoClock(), Settings(), b"k" * 16, None)
        await loop.list_all()
        assert {await loop.fleets.queue.get() for _ in range(2)} == {KEY, (NAMESPACE, "other")}

    run_virtual(main())


class _NoClock:
    """A clock that nobody may ask."""

    def now(self) -> datetime:
        raise NotImplementedError

    def boottime(self) -> float:
        raise NotImplementedError

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


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
