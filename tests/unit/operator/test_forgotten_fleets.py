"""Names of fleets cost nothing once they stand for nothing: whoever may create runs chooses them freely (M10)."""

import asyncio

from pinfleet_operator.plan.memory import FleetKey
from pinfleet_operator.reconcile import NEVER, FleetQueue
from tests.sim.loop import run_virtual
from tests.unit.operator.bench import KEY, NAMESPACE, Bench


class Worked:
    """A bench and the queue over its passes; every pass is counted."""

    def __init__(self) -> None:
        self.bench = Bench()
        self.passes: list[FleetKey] = []
        self.queue = FleetQueue(store=self.bench.store, settings=self.bench.settings, once=self._once)
        self.queue.start()

    async def _once(self, key: FleetKey) -> float | None:
        self.passes.append(key)
        self.bench.deliver()
        return await self.bench.reconciler.once(key)

    async def work(self, seconds: float) -> int:
        """Passes that are made in so much time, while the cluster goes on."""
        self.passes.clear()
        task = asyncio.create_task(self.queue.work())
        for _ in range(20):
            await asyncio.sleep(seconds / 20)
            self.bench.kubelet()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return len(self.passes)


def test_a_name_that_only_a_run_named_is_not_kept() -> None:
    """Its two events make two passes; an hour later nothing of its name is left, and nothing was asked again."""

    async def main() -> None:
        worked = Worked()
        worked.bench.run("r1", None, "Pending")
        assert await worked.work(3600) == 2
        assert worked.queue.queue.is_idle
        assert not worked.queue._counted_at

    run_virtual(main())


def test_a_deleted_fleet_is_forgotten_and_found_again() -> None:
    """Once its versions are swept its name costs nothing; an event brings a fleet of that name back."""

    async def main() -> None:
        worked = Worked()
        worked.bench.apply(version="v1")
        worked.queue.add(*KEY)
        await worked.work(60)
        assert worked.bench.status()["activeVersion"] == "v1"
        worked.bench.delete_fleet()
        worked.queue.add(*KEY)
        await worked.work(60)
        assert worked.bench.names("agentversions") == []
        await worked.work(600)  # the resync after the finalizer's removal, which shows that the object is gone
        assert (await worked.work(3600), worked.queue.queue.is_idle) == (0, True)
        worked.bench.apply(version="v1")
        worked.queue.add(*KEY)
        await worked.work(60)
        assert worked.bench.status()["activeVersion"] == "v1"

    run_virtual(main())


def test_runs_of_no_fleet_do_not_make_a_pass_each() -> None:
    """A name is forgotten, but not how lately its runs were counted: a burst of them is one pass every two seconds."""

    async def main() -> None:
        tries: list[FleetKey] = []

        async def once(key: FleetKey) -> float | None:
            tries.append(key)
            return NEVER

        worked = Worked()
        queue = FleetQueue(store=worked.bench.store, settings=worked.bench.settings, once=once)
        queue.start()
        task = asyncio.create_task(queue.work())
        for number in range(100):
            worked.bench.run(f"r{number}", None, "Pending")
            await asyncio.sleep(0.01)
        await asyncio.sleep(10)
        task.cancel()
        assert tries == [(NAMESPACE, KEY[1])] * 2
        assert not queue._counted_at

    run_virtual(main())
