"""Reading the world: what comes from where, and what is asked of the API server at all."""

from datetime import timedelta
from typing import Any

import pytest

from pinfleet_operator.errors import Forbidden, Rejected, Unavailable
from pinfleet_operator.observe import Observer
from pinfleet_operator.plan.memory import Memory
from pinfleet_operator.plan.world import World
from tests.sim.loop import run_virtual
from tests.unit.operator.bench import FLEET, NAMESPACE, Bench, template


class Watcher:
    """An observer of a bench's fleet."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.memory = bench, Memory()
        self.observer = Observer(store=bench.store, kube=bench.kube, memory=self.memory, settings=bench.settings)

    async def look(self) -> World:
        """The world now."""
        self.bench.deliver()
        return await self.observer.observe(NAMESPACE, FLEET)


def test_a_missing_fleet_is_seen_as_gone() -> None:
    """A pass over a fleet that does not exist is no error: its leftovers are swept."""

    async def main() -> None:
        world = await Watcher(Bench()).look()
        assert (world.fleet, world.versions, world.is_namespace_ending) == (None, (), False)

    run_virtual(main())


def test_counts_carry_the_version_of_the_runs_that_they_count() -> None:
    """Counts and their resourceVersion are of the same moment."""

    async def main() -> None:
        bench = Bench()
        bench.apply(version="v1")
        await bench.settle()
        bench.run("r1", "v1", pod="support-v1-0")
        world = await Watcher(bench).look()
        assert (world.versions[0].counts.open, world.counted_at) == (1, str(bench.server.resource_version))
        assert [pod.runs for pod in world.versions[0].pods] == [1]

    run_virtual(main())


def test_a_spec_that_does_not_fit_is_told_with_its_field() -> None:
    """A user's mistake is a value in the world, not an exception."""

    async def main() -> None:
        bench = Bench()
        bench.apply(version="v1", port=123456)
        world = await Watcher(bench).look()
        assert world.fleet is not None
        assert (world.fleet.spec, world.fleet.spec_error.startswith("port: ")) == (None, True)

    run_virtual(main())


@pytest.mark.parametrize(
    ("refusal", "expected"),
    [
        (Rejected("spec.x: Required"), "spec.x: Required"),
        (Forbidden("quota"), None),
    ],
)
def test_a_new_template_is_tried_once_by_a_dry_run(refusal: Exception, expected: str | None) -> None:
    """The server's message is the verdict, kept for the spec's hash; quota is none of the template's faults."""

    async def main() -> None:
        bench, asked = Bench(), []

        def refuse(verb: str, _plural: str) -> Exception | None:
            asked.append(verb)
            return refusal if verb == "dry-run" else None

        bench.kube.refuse = refuse
        bench.apply(version="v1")
        watcher = Watcher(bench)
        assert [(await watcher.look()).template_error for _ in range(3)] == [expected] * 3
        assert asked == ["dry-run"]
        bench.apply(version="v2", template=template("v2"))
        await watcher.look()
        assert asked == ["dry-run", "dry-run"]

    run_virtual(main())


def test_what_cannot_be_read_is_raised() -> None:
    """A pass that cannot ask decides nothing."""

    async def main() -> None:
        bench = Bench()
        bench.kube.refuse = lambda verb, _plural: Unavailable("down") if verb == "dry-run" else None
        bench.apply(version="v1")
        with pytest.raises(Unavailable):
            await Watcher(bench).look()

    run_virtual(main())


def test_a_missing_claim_is_asked_for_while_the_version_has_no_pod() -> None:
    """The claim of a served version is not looked up again in every pass."""

    async def main() -> None:
        bench = Bench()
        bench.apply(version="v1", state={"sqlite": {"claimName": "journals"}})
        await bench.settle()
        assert bench.condition("Stalled") is not None
        assert (await Watcher(bench).look()).is_claim_missing
        bench.server.create("persistentvolumeclaims", NAMESPACE, {"metadata": {"name": "journals"}})
        world = await Watcher(bench).look()
        assert not world.is_claim_missing

    run_virtual(main())


def test_a_dead_pods_listing_does_not_hold_it() -> None:
    """What a dead pod listed last can never be acked: only runs assigned to it count."""

    async def main() -> None:
        bench = Bench()
        bench.apply(version="v1")
        await bench.settle()
        uid = bench.server.read("pods", NAMESPACE, "support-v1-0")["metadata"]["uid"]
        mirror = bench.store.mirror(uid)
        assert mirror is not None
        listing: Any = object()
        mirror.runs["gone"] = listing
        watcher = Watcher(bench)
        assert [pod.runs for pod in (await watcher.look()).versions[0].pods] == [1]
        bench.set_pod("support-v1-0", phase="Failed")
        assert [pod.runs for pod in (await watcher.look()).versions[0].pods] == [0]

    run_virtual(main())


@pytest.mark.parametrize(
    ("change", "answers"),
    [
        ({}, True),
        ({"version": "v2"}, False),
        ({"draining": True}, False),
        ({"failing_since": "now"}, False),
        ({"boot": ""}, False),
    ],
)
def test_a_pod_answers_only_as_what_it_is(change: dict[str, Any], answers: bool) -> None:  # noqa: FBT001 - a table
    """Ready is Kubernetes Ready and an answer with the right version."""

    async def main() -> None:
        bench = Bench()
        bench.apply(version="v1")
        await bench.settle()
        mirror = bench.store.mirrors()[0]
        for name, value in change.items():
            setattr(mirror, name, bench.now() if value == "now" else value)
        world = await Watcher(bench).look()
        assert [pod.answers for pod in world.versions[0].pods] == [answers]

    run_virtual(main())


def test_reach_counts_pods_that_once_served() -> None:
    """A pod that is still starting says nothing about the network."""

    async def main() -> None:
        bench = Bench()
        bench.apply(version="v1", replicas=4)
        await bench.settle()
        long_ago = bench.now() - timedelta(seconds=60)
        for mirror in bench.store.mirrors()[:3]:
            mirror.failing_since = long_ago
        watcher = Watcher(bench)
        reach = (await watcher.look()).reach
        assert (reach.answering, reach.unreachable, reach.is_doubtful) == (1, 3, True)
        starting = bench.store.mirrors()[0]
        starting.boot = ""
        bench.set_pod("support-v1-0", ready=False)
        assert (await watcher.look()).reach.unreachable == 2

    run_virtual(main())


def test_memory_ends_with_what_it_is_about() -> None:
    """Pods and versions that are gone leave nothing behind in the process."""

    async def main() -> None:
        bench = Bench()
        bench.apply(version="v1")
        await bench.settle()
        watcher = Watcher(bench)
        await watcher.look()
        memory = watcher.memory.of((NAMESPACE, FLEET))
        assert (len(memory.empty_pods), len(memory.empty_versions)) == (1, 1)
        bench.server.remove("agentversions", NAMESPACE, "support.v1")
        bench.kubelet()
        await watcher.look()
        assert (memory.empty_pods, memory.empty_versions) == ({}, {})

    run_virtual(main())
