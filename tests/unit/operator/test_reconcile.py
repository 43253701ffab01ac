"""The pass as a whole, on an API server in memory, and the queue that makes it."""

import asyncio

import pytest

from pinfleet_operator.errors import Conflict, Rejected, Unavailable
from tests.sim.loop import run_virtual
from tests.unit.operator.bench import FLEET, KEY, NAMESPACE, Bench, template


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
    """INV-8: passes over a fleet that stands as asked write nothing; a new process sets its Secret right, once."""

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
        at = bench.server.resource_version
        for _ in range(5):
            await bench.once()
            await asyncio.sleep(60)
        assert (bench.kube.log, bench.server.resource_version) == (["patch secrets"], at)

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


@pytest.mark.case("INV-9")
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
